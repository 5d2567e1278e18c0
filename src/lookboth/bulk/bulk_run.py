"""A bulk run: plan or resume, label what is missing, add up."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lookboth.bulk.bulk_options import BulkOptions, Workers
from lookboth.bulk.bulk_progress import Meter, Progress
from lookboth.bulk.cluster import connected, label_parts
from lookboth.bulk.input_files import find_files
from lookboth.bulk.manifest import Manifest, decided
from lookboth.bulk.part_results import OutFolder
from lookboth.bulk.parts import plan_parts
from lookboth.bulk.rows import require_keys
from lookboth.bulk.storage import Place, open_place
from lookboth.bulk.worker import Job
from lookboth.errors import ConfigError, DataError, LookbothError


class BulkResult(NamedTuple):
    """What a bulk run has written.

    Args:
        out: the output folder; bad_rows: where bad rows are.
        total: counts over all tries, and the speed of this one.
    """

    out: str
    bad_rows: str
    total: Progress

    def describe(self) -> str:
        """Return the summary that the command line prints."""
        total = self.total
        lines = [f"{total.rows:,} rows, {total.words:,} words, {total.spans:,} spans: {self.out}"]
        if total.bad:
            lines.append(f"bad rows, with reasons: {total.bad:,}: {self.bad_rows}")
        if total.seconds:
            lines.append(f"{total.seconds:,.0f} s, {total.words_a_second:,.0f} words/s")
        else:
            lines.append("nothing was left to do")
        return "\n".join(lines)


def run_bulk(
    source: str | Path,
    out: str | Path,
    options: BulkOptions | None = None,
    workers: Workers | None = None,
    *,
    model: str | Path | None = None,
    report: Callable[[Progress], None] | None = None,
) -> BulkResult:
    """Label all texts of files or folders, on one machine or a cluster; the same call again goes on where it was.

    Args:
        source: path or URL of a file or folder: Parquet, JSON lines, or plain text with a text a line.
        out: path or URL of a folder for the spans, one file a part of the input.
        options: what decides the result.
        workers: what does the work.
        model: saved labeler, folder or hub id; the shipped one when None.
        report: called with the progress after each part.

    Raises:
        DataError: input that cannot be read, has changed since the run began, lacks a column, or has not one row
            that can be labeled (told after the run; the invalid rows are written with their reasons).
        ConfigError: a folder that was begun with other options, or holds other things; not enough CPUs or GPUs;
            thresholds of a labeler that has none.
        ModelError: a labeler that cannot be loaded.
    """
    from lookboth.labelers import find_folder, model_digest, read_confidence

    options, workers = options or BulkOptions(), workers or Workers()
    place, folder = open_place(str(source)), OutFolder(open_place(str(out)))
    _refuse_out_in_source(place, folder.place)
    model_folder = find_folder(model)
    if options.thresholds:
        read_confidence(model_folder).require_thresholds()
    root, files = find_files(place, options.input_format)
    wanted = Manifest(decided(options, files), model_digest(model_folder), tuple(files))
    folder.prepare()
    with folder.lock():
        folder.clear_work()
        manifest = _begin_or_resume(folder, root, wanted)
        done = folder.receipts(manifest)
        meter = Meter([part.size for part in manifest.parts], tuple(done.values()))
        missing = [number for number in range(len(manifest.parts)) if number not in done]
        if missing:
            local = None if model is None else str(model_folder.absolute() if Path(model).is_dir() else model)
            job = Job(_for_workers(source), root.path, _for_workers(out), local)
            _label(job, missing, workers, meter, report)
            folder.clear_work()  # of a worker that was killed; all others are gone
    total = meter.progress()
    if total.parts < total.all_parts:
        raise LookbothError(
            f"{total.all_parts - total.parts} parts were not written. Type the same again to go on."
        )
    _require_labeled(total, str(source), folder)
    return BulkResult(str(out), folder.bad_folder, total)


def _require_labeled(total: Progress, source: str, folder: OutFolder) -> None:
    """Refuse to call a run finished in which no row was labeled."""
    if total.rows:
        return
    if not total.bad:
        raise DataError(f"{source}: the files have no rows. Name other files.")
    raise DataError(
        f"{source}: no row was labeled. All {total.bad:,} rows are invalid, the first one because: "
        f"{folder.first_reason()}. Reasons of the others: {folder.bad_folder}. Mend the input, or give other "
        "options and another folder for the result."
    )


def _label(
    job: Job,
    missing: list[int],
    workers: Workers,
    meter: Meter,
    report: Callable[[Progress], None] | None,
) -> None:
    with (
        connected(workers),
        closing(label_parts(job, missing, workers)) as receipts,
        _interruptible() as raise_what_got_lost,
    ):
        for receipt in receipts:
            progress = meter.add(receipt)
            if report is not None:
                report(progress)
            raise_what_got_lost()


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Give a function that raises KeyboardInterrupt once more: one that arrives inside Ray may be caught there."""
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    def raise_again() -> None:
        if interrupted:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # it gets no signals
        yield raise_again
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield raise_again
    finally:
        signal.signal(signal.SIGINT, before)


def _begin_or_resume(folder: OutFolder, root: Place, wanted: Manifest) -> Manifest:
    begun = folder.read_manifest()
    different = [] if begun is None else begun.differences(wanted)
    if begun is not None and not different:
        return begun
    if different and not folder.is_blank():
        raise ConfigError(
            f"{folder.place.path} was begun otherwise: {'; '.join(different)}. "
            "Type the same as then, or give another folder for the result."
        )
    parts = plan_parts(root, wanted.files, wanted.options)
    require_keys(root, wanted.files, wanted.options)
    manifest = replace(wanted, parts=tuple(parts))
    folder.write_manifest(manifest)
    return manifest


def _refuse_out_in_source(source: Place, out: Place) -> None:
    inside = PurePosixPath(out.path).is_relative_to(PurePosixPath(source.path))
    if inside and type(source.filesystem) is type(out.filesystem):
        raise ConfigError(
            f"the result ({out.path}) would lie in the input ({source.path}) and be read when the run is resumed. "
            "Give another folder."
        )


def _for_workers(given: str | Path) -> str:
    """Return a path or URL that means the same wherever a worker runs."""
    return str(given) if "://" in str(given) else str(Path(given).expanduser().absolute())
