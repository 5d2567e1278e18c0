"""Progress of a bulk run: counts, speed and remaining time."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from lookboth.bulk.part_results import Receipt


@dataclass(frozen=True)
class Progress:
    """Progress of a bulk run. An attempt is one call of `run_bulk`; a resumed run has several.

    Args:
        parts, bytes: finished in this and earlier attempts.
        all_parts, all_bytes: totals of the run.
        rows, words, spans: counts of the labeled rows in the finished parts.
        bad: invalid rows in the finished parts.
        seconds: seconds of work in this attempt; 0 if every part was already finished.
        words_a_second: words per second in this attempt.
        seconds_left: remaining seconds at the speed of this attempt; None before its first part.
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
        """Return the progress as one line of text."""
        share = self.bytes / self.all_bytes if self.all_bytes else 1.0
        parts = [
            f"{share:.1%}",
            f"{self.parts:,} of {self.all_parts:,} parts",
            f"{self.words:,} words",
            f"{self.words_a_second:,.0f} words/s",
        ]
        if self.bad:
            parts.append(f"invalid rows: {self.bad:,}")
        if self.seconds_left is not None:
            parts.append(f"{timedelta(seconds=round(self.seconds_left))} left")
        return ", ".join(parts)


class Meter:
    """Sums receipts into progress.

    Args:
        sizes: bytes of each part of the run.
        before: receipts of earlier attempts.
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
        """Count a finished part and return the progress."""
        # The clock starts with the first part's work, so that the speed excludes the loading of models.
        if self.began is None:
            self.began = time.monotonic() - receipt.seconds
        self._count(receipt)
        return self.progress()

    def progress(self) -> Progress:
        """Return the progress of the run."""
        totals = (self.parts, len(self.sizes), self.bytes, self.all_bytes)
        if self.began is None:
            return Progress(*totals, **self.counts)
        # At least a microsecond, against a division by zero.
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
    """Prints progress to standard error: one updated line on a terminal, else a new line every 10 seconds."""

    def __init__(self) -> None:
        self.in_place = sys.stderr.isatty()
        self.every = 0.5 if self.in_place else 10.0
        self.next = 0.0

    def __call__(self, progress: Progress) -> None:
        """Print the progress, unless the last line is too recent."""
        now = time.monotonic()
        last = progress.parts == progress.all_parts
        if now < self.next and not last:
            return
        self.next = now + self.every
        line = progress.describe()
        end = "\n" if last or not self.in_place else ""
        # The escape sequence clears the rest of a longer earlier line.
        print(f"\r{line}\x1b[K" if self.in_place else line, end=end, file=sys.stderr, flush=True)
