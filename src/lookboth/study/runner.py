"""`lookboth study`: every run of a study that is not done yet, several at once, resumable at any point."""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from lookboth.errors import ConfigError, DataError
from lookboth.run_folder import RunFolder
from lookboth.study.cells import TUNING, Setting, study_settings
from lookboth.study.config import StudyConfig
from lookboth.study.study_progress import Board, estimate_seconds
from lookboth.study.study_state import StudyState
from lookboth.study.workers import Event, Workers
from lookboth.training import require_alone

ATTEMPTS = 2  # a process may die of what other processes did
_BYTES_PER_WORKER = 3e9


def run_study(
    study: StudyConfig,
    out: str | Path,
    *,
    workers: int | None = None,
    only: str = "*",
    say: Callable[[str], None] = print,
) -> StudyState:
    """Run every cell of `study` that is not done and return what is done and what failed.

    Killed at any point and called again with the same `out`, it goes on where it was. Values are chosen by dev
    scores alone; test data is read in the reported runs only.

    Args:
        study: what to run (`load_study`).
        out: folder; `out/DATA/METHOD/seed-N/` gets run.json and predictions.jsonl.
        workers: runs at once; by cores and free memory when None.
        only: patterns of the settings to run, commas between, for example "ner/*,*/full".
        say: told what is going on where there is no terminal to draw a table in.

    Raises:
        LookbothError: a setting that is not allowed, data that cannot be read; before anything is run.
    """
    require_alone("lookboth study")
    out = Path(out)
    settings = study_settings(study, out, only=only)
    _check_data(settings, study.seeds[0])
    state = StudyState(settings, study.seeds)
    waiting = state.ready()
    count = min(workers or default_workers(), max(1, state.num_left()))
    with Board(study.name, state, count, say) as board:
        if waiting:
            with Workers(count, threads=max(1, (os.cpu_count() or 1) // count)) as pool:
                _run_all(state, pool, board)
    if not state.failed and only == "*" and not state.ready():
        for folder in (out / TUNING).rglob(RunFolder(out).training.path.name):
            shutil.rmtree(folder)
    return state


def default_workers() -> int:
    """Return how many runs fit at once: one a core while memory lasts; one on a GPU."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return 1
    fitting = int(psutil.virtual_memory().available // _BYTES_PER_WORKER)
    return max(1, min(os.cpu_count() or 1, fitting))


def describe_study(study: StudyConfig, out: str | Path, *, only: str = "*") -> str:
    """Return what a study would run, and what of it is done, without running anything."""
    settings = study_settings(study, Path(out), only=only)
    state = StudyState(settings, study.seeds)
    state.ready()
    lines = [f"{study.name}: {state.num_cells()} runs, {len(state.scores)} done"]
    for setting in settings:
        tuning = len(setting.tuning_cells)
        lines.append(f"{setting.name}: {len(study.seeds)} seeds" + (f", {tuning} to tune" if tuning else ""))
    left = estimate_seconds(state)
    return "\n".join(lines + ([f"about {left / 3600:.1f} hours of one worker left"] if left else []))


def _run_all(state: StudyState, pool: Workers, board: Board) -> None:
    attempts: Counter[str] = Counter()
    while True:
        running = {str(cell) for cell in pool.running()}
        for cell in state.ready():
            if not pool.has_free():
                break
            if str(cell) not in running:
                attempts[str(cell)] += 1
                running.add(str(cell))
                pool.give(cell)
        if not pool.running():
            return
        board.draw(pool.running())
        for event in pool.events():
            _take_note(event, state, board, attempts)


def _take_note(event: Event, state: StudyState, board: Board, attempts: Counter[str]) -> None:
    name = str(event.cell)
    if event.kind == "said":
        board.note(name, event.text)
        return
    if event.kind == "failed" or (event.kind == "died" and attempts[name] >= ATTEMPTS):
        state.failed[name] = event.text
    board.ended(event)


def _check_data(settings: Sequence[Setting], seed: int) -> None:
    """Read every data set once, so that a missing one is known before the first training."""
    from lookboth.training import read_splits

    seen = set()
    for setting in settings:
        config = setting.final_cell(seed, setting.choices[0]).config
        key = config.data.model_dump_json()
        if key in seen:
            continue
        seen.add(key)
        try:
            read_splits(config)
        except (DataError, ConfigError) as error:
            raise type(error)(f"{setting.name}: {error}") from error
