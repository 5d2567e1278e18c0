"""Formatting of numbers in tables: percent, signed points, intervals, p-values."""

from lookboth.evaluation import Interval, MeanAndSd


def show_mean(score: MeanAndSd | None, count: int, usual: int) -> str:
    """Return a mean over seeds in percent with its sd, and the number of seeds if it differs from `usual`.

    >>> show_mean(MeanAndSd(0.5, 0.01), 3, usual=3), show_mean(MeanAndSd(0.5, None), 1, usual=3)
    ('50.0 ± 1.0', '50.0 (1)')
    """
    if score is None:
        return ""
    spread = "" if score.sd is None else f" ± {100 * score.sd:.1f}"
    return f"{100 * score.mean:.1f}{spread}" + (f" ({count})" if count != usual else "")


def show_seeds(count: int) -> str:
    """Return "1 seed" or "3 seeds"."""
    return f"{count} seed{'' if count == 1 else 's'}"


def show_points(value: float) -> str:
    """Return a difference in percentage points with its sign; zero after rounding is unsigned.

    >>> show_points(0.0123), show_points(-0.01), show_points(-0.0001)
    ('+1.2', '−1.0', '0.0')
    """
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def show_interval(interval: Interval | None) -> str:
    """Return an interval in percentage points, "" for None."""
    return "" if interval is None else f"{show_points(interval.low)} to {show_points(interval.high)}"


def show_number(value: float | None) -> str:
    """Return a number with one decimal, "" for None."""
    return "" if value is None else f"{value:.1f}".replace("-", "−")


def show_p(value: float | None) -> str:
    """Return a p-value in the APA style: three decimals without a leading zero.

    >>> show_p(0.0001), show_p(0.04321), show_p(None)
    ('< .001', '.043', '')
    """
    if value is None:
        return ""
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
