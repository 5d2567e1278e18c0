"""How far a bulk run is: counts, speed, time left."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from lookboth.bulk.part_results import Receipt


@dataclass(frozen=True)
class Progress:
    """How far a bulk run is.

    Args:
        parts, bytes: done, in this and earlier tries; all_parts, all_bytes: of the run.
        rows, words, spans, bad: in the parts done.
        seconds: of work in this try, 0 where nothing was left to do.
        words_a_second: in this try.
        seconds_left: at the speed of this try; None before its first part.
    """

    parts: int
    all_parts: int
    bytes: int
    all_bytes: int
    rows: int
    words: int
    spans: int
    bad: int
    seconds: float = 0.0
    words_a_second: float = 0.0
    seconds_left: float | None = None

    def describe(self) -> str:
        """Return one line."""
        share = self.bytes / self.all_bytes if self.all_bytes else 1.0
        parts = [
            f"{share:.1%}",
            f"{self.parts:,} of {self.all_parts:,} parts",
            f"{self.words:,} words",
            f"{self.words_a_second:,.0f} words/s",
        ]
        if self.bad:
            parts.append(f"bad rows: {self.bad:,}")
        if self.seconds_left is not None:
            parts.append(f"{timedelta(seconds=round(self.seconds_left))} left")
        return ", ".join(parts)


class Meter:
    """Adds up receipts.

    Args:
        sizes: bytes of each part of the run.
        before: receipts of earlier tries.
    """

    def __init__(self, sizes: Sequence[int], before: Sequence[Receipt] = ()) -> None:
        self.sizes, self.all_bytes = sizes, sum(sizes)
        self.counts = dict.fromkeys(("rows", "words", "spans", "bad"), 0)
        self.bytes = self.parts = 0
        for receipt in before:
            self._count(receipt)
        self.words_before, self.bytes_before = self.counts["words"], self.bytes
        self.began: float | None = None

    def add(self, receipt: Receipt) -> Progress:
        """Count a part that was just written."""
        if self.began is None:  # without the time that models take to load
            self.began = time.monotonic() - receipt.seconds
        self._count(receipt)
        return self.progress()

    def progress(self) -> Progress:
        """Return how far the run is."""
        totals = (self.parts, len(self.sizes), self.bytes, self.all_bytes)
        if self.began is None:
            return Progress(*totals, **self.counts)
        seconds = max(time.monotonic() - self.began, 1e-6)
        speed = (self.bytes - self.bytes_before) / seconds
        return Progress(
            *totals,
            **self.counts,
            seconds=seconds,
            words_a_second=(self.counts["words"] - self.words_before) / seconds,
            seconds_left=(self.all_bytes - self.bytes) / speed if speed else None,
        )

    def _count(self, receipt: Receipt) -> None:
        self.parts += 1
        self.bytes += self.sizes[receipt.part]
        for name in self.counts:
            self.counts[name] += getattr(receipt, name)


class ProgressLine:
    """Shows progress on standard error: in place on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self.in_place = sys.stderr.isatty()
        self.every = 0.5 if self.in_place else 10.0
        self.next = 0.0

    def __call__(self, progress: Progress) -> None:
        """Show it, unless something was shown just now."""
        now = time.monotonic()
        last = progress.parts == progress.all_parts
        if now < self.next and not last:
            return
        self.next = now + self.every
        line = progress.describe()
        end = "\n" if last or not self.in_place else ""
        print(f"\r{line}\x1b[K" if self.in_place else line, end=end, file=sys.stderr, flush=True)
