"""`lookboth study`: run all unfinished cells of a study in parallel; resumable at any point."""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lookboth.config import require_supported
from lookboth.errors import ConfigError, DataError
from lookboth.run_folder import RunFolder
from lookboth.study.cells import TUNING, Setting, study_settings
from lookboth.study.config import StudyConfig
from lookboth.study.study_progress import Board, estimate_seconds
from lookboth.study.study_state import StudyState
from lookboth.study.worker_pool import Event, WorkerPool
from lookboth.training import require_single_process

# The kernel may kill a worker because other processes used up the memory, so a second attempt can succeed.
ATTEMPTS = 2
_BYTES_PER_WORKER = 3e9  # a run of a small model with its libraries


def run_study(
    study: StudyConfig,
    out: str | Path,
    *,
    workers: int | None = None,
    only: str = "*",
) -> StudyState:
    """Run every unfinished cell of `study` and return the finished and failed cells.

    An interrupted study resumes when called again with the same `out`. Only dev scores choose values; test
    data is read in the reported runs only. Without a terminal for a table, progress is logged at level INFO.

    Args:
        study: the study (`load_study`).
        out: output folder; `out/DATA/METHOD/seed-N/` gets run.json and predictions.jsonl.
        workers: number of runs in parallel; chosen from cores and free memory if None.
        only: comma-separated patterns of the settings to run, for example "ner/*,*/full".

    Raises:
        LookbothError: a setting is invalid or data cannot be read; raised before the first run.
    """
    require_single_process("lookboth study")
    out = Path(out)
    settings = study_settings(study, out, only=only)
    _check_settings(settings, study.seeds[0])
    state = StudyState(settings, study.seeds)
    waiting = state.ready()
    count = min(workers or default_workers(), max(1, state.num_left()))
    with Board(study.name, state, count) as board:
        if waiting:
            with WorkerPool(count, threads=threads_per_worker(count)) as pool:
                _run_all(state, pool, board)
    # Checkpoints of tuning runs are needed only until the reported runs have started from them.
    if not state.failed and only == "*" and not state.ready():
        for folder in (out / TUNING).rglob(RunFolder(out).training.path.name):
            shutil.rmtree(folder)
    return state


def default_workers() -> int:
    """Return how many runs fit in parallel: one per core while memory suffices, one on a GPU."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return 1
    fitting = int(psutil.virtual_memory().available // _BYTES_PER_WORKER)
    return max(1, min(_usable_cores(), fitting))


def threads_per_worker(count: int) -> int:
    """Return the number of threads of each of `count` workers; a smaller OMP_NUM_THREADS of the user counts."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    shared = max(1, _usable_cores() // count)
    return min(shared, int(asked)) if asked.isdecimal() and int(asked) else shared


def _usable_cores() -> int:
    """Return the cores that this process may use, which containers and batch systems limit."""
    # More threads than cores wait for each other at every step. macOS and Windows do not have this function.
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def describe_study(study: StudyConfig, out: str | Path, *, only: str = "*") -> str:
    """Return the runs of a study and how many are finished, without running anything."""
    settings = study_settings(study, Path(out), only=only)
    state = StudyState(settings, study.seeds)
    state.ready()
    lines = [f"{study.name}: {state.num_cells()} runs, {len(state.scores)} done"]
    for setting in settings:
        tuning = len(setting.tuning_cells)
        lines.append(f"{setting.name}: {len(study.seeds)} seeds" + (f", {tuning} to tune" if tuning else ""))
    left = estimate_seconds(state)
    return "\n".join(lines + ([f"about {left / 3600:.1f} hours left with one worker"] if left else []))


def _run_all(state: StudyState, pool: WorkerPool, board: Board) -> None:
    attempts: Counter[str] = Counter()
    while True:
        running = {str(cell) for cell in pool.running()}
        for cell in state.ready():
            if not pool.has_free():
                break
            if str(cell) not in running:
                attempts[str(cell)] += 1
                running.add(str(cell))
                pool.assign(cell)
        if not pool.running():
            return
        board.draw(pool.running())
        for event in pool.events():
            _take_note(event, state, board, attempts)


def _take_note(event: Event, state: StudyState, board: Board, attempts: Counter[str]) -> None:
    name = str(event.cell)
    if event.kind == "progress":
        board.note(name, event.text)
        return
    if event.kind == "failed" or (event.kind == "died" and attempts[name] >= ATTEMPTS):
        state.failed[name] = event.text
    board.ended(event)


def _check_settings(settings: Sequence[Setting], seed: int) -> None:
    """Check all recipes and read every data set once, so that mistakes are reported before the first training."""
    from lookboth.training import data_settings, read_splits

    seen = set()
    for setting in settings:
        config = setting.final_cell(seed, setting.choices[0]).config
        key = data_settings(config).model_dump_json()
        try:
            for choice in setting.choices:
                require_supported(setting.final_cell(seed, choice).config)
            if key not in seen:
                read_splits(config)
        except (DataError, ConfigError) as error:
            raise type(error)(f"{setting.name}: {error}") from error
        seen.add(key)
