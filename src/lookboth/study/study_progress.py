"""The live table of a study: dev scores so far, current runs and estimated time left."""

import logging
import sys
from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

from lookboth.study.cells import Cell, Setting

if TYPE_CHECKING:
    from lookboth.study.study_state import StudyState
    from lookboth.study.worker_pool import Event

LOGGER = logging.getLogger(__name__)


class Board:
    """Context manager that shows the progress of a study.

    On a terminal it redraws a table in place; elsewhere it logs one line per finished run. Test scores are
    never shown: they belong in the report, after all choices are made.

    Args:
        name: name of the study.
        state: the state to show.
        workers: number of runs in parallel.
    """

    def __init__(self, name: str, state: "StudyState", workers: int) -> None:
        self.name, self.state, self.workers = name, state, workers
        self.notes: dict[str, str] = {}
        self.running: Sequence[Cell] = ()
        self.live: Any = None

    def __enter__(self) -> "Board":
        if sys.stdout.isatty():
            from rich.live import Live

            self.live = Live(get_renderable=self._table, refresh_per_second=1)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.running = ()
            self.live.stop()

    def draw(self, running: Sequence[Cell]) -> None:
        """Show the given cells as running."""
        self.running = running

    def note(self, cell: str, line: str) -> None:
        """Store the latest progress line of a run."""
        self.notes[cell] = line

    def ended(self, event: "Event") -> None:
        """Report the outcome of a run."""
        self.notes.pop(str(event.cell), None)
        if event.kind == "done":
            self.state.is_done(event.cell)
            score = self.state.scores.get(str(event.cell), 0.0)
            text = "diverged" if score < 0 else f"dev {100 * score:.2f}"
        else:
            text = f"{event.kind}: {event.text.strip().splitlines()[-1]}"
        if self.live is None:
            LOGGER.info(f"{event.cell}: {text}; {self.headline()}")

    def headline(self) -> str:
        """Return the overall progress in one line."""
        state = self.state
        parts = [f"{len(state.scores)} of {state.num_cells()} runs done"]
        if state.failed:
            parts.append(f"{len(state.failed)} failed")
        left = estimate_seconds(state)
        if left:
            parts.append(f"{clock(left / self.workers)} left")
        return ", ".join(parts)

    def _table(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        rows = method_rows(self.state)
        datasets = list(dict.fromkeys(dataset for row in rows.values() for dataset in row))
        table = Table(title=f"{self.name}: dev score, runs done")
        table.add_column("method")
        for dataset in datasets:
            table.add_column(dataset, justify="right")
        for method, row in rows.items():
            table.add_row(method, *[row.get(dataset, "") for dataset in datasets])
        lines = [f"{cell}  {self.notes.get(str(cell), 'starting')}" for cell in self.running]
        return Group(table, Text("\n".join([*lines, self.headline()])))


def method_rows(state: "StudyState") -> dict[str, dict[str, str]]:
    """Return, per method and data set, the mean dev score over finished seeds and their number."""
    rows: dict[str, dict[str, str]] = {}
    for setting in state.settings:
        dataset, _, method = setting.name.rpartition("/")
        rows.setdefault(method, {})[dataset] = _progress(state, setting)
    return rows


def estimate_seconds(state: "StudyState") -> float:
    """Return the seconds that one worker needs for the remaining runs; 0 if no run has finished.

    A run is estimated by the mean duration of the most similar finished runs: of its setting, else of its
    method, else of its data set, else of all.
    """
    if not state.seconds:
        return 0.0
    known = [(name.rpartition("/")[0].split("/"), seconds) for name, seconds in state.seconds.items()]
    total = 0.0
    for setting in state.settings:
        names = [f"{setting.name}/seed-{seed}" for seed in state.seeds] + list(map(str, setting.tuning_cells))
        num_left = sum(name not in state.scores and name not in state.failed for name in names)
        dataset, _, method = setting.name.rpartition("/")
        for wanted in ({dataset, method}, {method}, {dataset}, set()):
            alike = [seconds for parts, seconds in known if wanted <= {*parts, "/".join(parts[:-1])}]
            if alike:
                total += num_left * mean(alike)
                break
    return total


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def _progress(state: "StudyState", setting: Setting) -> str:
    names = [f"{setting.name}/seed-{seed}" for seed in state.seeds]
    scores = [state.scores[name] for name in names if name in state.scores]
    if scores:
        return f"{100 * mean(scores):.1f} ({len(scores)}/{len(state.seeds)})"
    failed = sum(name in state.failed for name in names)
    if failed:
        return f"{failed} failed"
    tuned = sum(str(cell) in state.scores for cell in setting.tuning_cells)
    return f"tuning {tuned}/{len(setting.tuning_cells)}" if setting.tuning_cells else ""
