"""One cell of a study, run: the method's training on the cell's data, into the cell's folder."""

import shutil
import time
from collections.abc import Callable
from functools import lru_cache

from filelock import FileLock

from lookboth.config import RunConfig
from lookboth.files import write_json
from lookboth.run_folder import RunFolder
from lookboth.study.cells import TUNING, Cell
from lookboth.training import Diverged, Splits, read_splits, train_one


def run_cell(cell: Cell, say: Callable[[str], None]) -> None:
    """Run `cell` unless it is done; a cell that was killed goes on from its last checkpoint.

    The recipe is written first, so that no other one goes on with what this one has trained. Weights that are no
    longer needed are removed: those of a reported run, unless they are kept; those of a tuning run only when the
    study is over, since the run with the chosen values takes them over.
    """
    folder = cell.run_folder
    folder.path.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.lock):  # a worker of an earlier, killed study may still be at it
        if cell.outcome() is not None:
            return
        write_json(folder.recipe, cell.config.to_dict())
        _take_over(cell)
        with folder.log.open("a", encoding="utf-8") as log:

            def tell(line: str) -> None:
                print(line, file=log, flush=True)
                say(line)

            tuning, start = (cell.config.study or {}).get("stage") == TUNING, time.monotonic()
            try:
                train_one(cell.config, _splits(_data_key(cell.config)), cell.seed, cell.folder, say=tell)
            except Diverged as error:
                if not tuning:
                    raise
                tell(f"{error} It counts as the worst choice.")
                end = {"config": cell.config.to_dict(), "seconds": time.monotonic() - start}
                write_json(folder.diverged, end)
        if not tuning:
            shutil.rmtree(folder.training.path, ignore_errors=True)
        if tuning or not cell.keep_labeler:
            shutil.rmtree(folder.labeler, ignore_errors=True)


def _take_over(cell: Cell) -> None:
    """Begin with the weights of the tuning run that trained exactly this."""
    target = cell.run_folder.training.path
    if cell.start_from is None or target.exists():
        return
    source = RunFolder(cell.start_from).training.path
    if not source.is_dir():
        return
    work = cell.folder / "copying"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work)
    work.rename(target)


def _data_key(config: RunConfig) -> str:
    """Return the recipe as text with everything but task and data at its default."""
    return RunConfig(task=config.task, data=config.data).model_dump_json()


@lru_cache(maxsize=4)
def _splits(key: str) -> Splits:
    return read_splits(RunConfig.model_validate_json(key))
