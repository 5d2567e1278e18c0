"""Running one cell of a study: train the cell's method on its data and write into its folder."""

import logging
import shutil
import time
from functools import lru_cache

from filelock import FileLock

from lookboth.config import RunConfig
from lookboth.files import write_json
from lookboth.progress import progress_to
from lookboth.run_folder import RunFolder
from lookboth.study.cells import TUNING, Cell
from lookboth.training import Diverged, Splits, data_settings, read_splits, train_one

LOGGER = logging.getLogger(__name__)


def run_cell(cell: Cell) -> None:
    """Run `cell` unless it is finished; resume an interrupted one from its last checkpoint.

    The recipe is written first, so that a different recipe cannot resume these checkpoints. Weights that are
    no longer needed are deleted. Reported runs delete theirs at the end, unless `keep_labeler` is set. Tuning
    runs keep their checkpoints until the study is over, because the run with the chosen values starts from
    them.
    """
    folder = cell.run_folder
    folder.path.mkdir(parents=True, exist_ok=True)
    # A worker of an earlier, killed study may still be running this cell.
    with FileLock(folder.lock):
        if cell.outcome() is not None:
            return
        write_json(folder.recipe, cell.config.to_dict())
        _take_over(cell)
        with (
            folder.log.open("a", encoding="utf-8") as log,
            progress_to(lambda line: print(line, file=log, flush=True)),
        ):
            tuning, start = (cell.config.study or {}).get("stage") == TUNING, time.monotonic()
            try:
                train_one(
                    cell.config, _splits(data_settings(cell.config).model_dump_json()), cell.seed, cell.folder
                )
            except Diverged as error:
                if not tuning:
                    raise
                LOGGER.info(f"{error} It counts as the worst choice.")
                end = {"config": cell.config.to_dict(), "seconds": time.monotonic() - start}
                write_json(folder.diverged, end)
        if not tuning:
            shutil.rmtree(folder.training.path, ignore_errors=True)
        if tuning or not cell.keep_labeler:
            shutil.rmtree(folder.labeler, ignore_errors=True)


def _take_over(cell: Cell) -> None:
    """Copy the checkpoints of the tuning run that trained exactly this recipe and seed."""
    target = cell.run_folder.training.path
    if cell.start_from is None or target.exists():
        return
    source = RunFolder(cell.start_from).training.path
    if not source.is_dir():
        return
    # Copy, then rename: an interrupted copy must not look like a complete checkpoint.
    work = cell.folder / "copying"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work)
    work.rename(target)


# A worker runs many cells on the same few data sets; reading a data set again would take seconds.
@lru_cache(maxsize=4)
def _splits(key: str) -> Splits:
    return read_splits(RunConfig.model_validate_json(key))
