"""A bulk run: divide or resume it, label the missing parts and return the totals."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
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
from lookboth.bulk.parts import divide_into_parts
from lookboth.bulk.rows import require_keys
from lookboth.bulk.storage import Place, open_place
from lookboth.bulk.worker import WorkerSpec
from lookboth.errors import ConfigError, DataError, LookbothError


class BulkResult(NamedTuple):
    """Result of a bulk run.

    Args:
        out: output folder.
        bad_rows: folder of the invalid rows.
        total: counts over all attempts, and the speed of the last one.
    """

    out: str
    bad_rows: str
    total: Progress

    def describe(self) -> str:
        """Return the summary that the command line prints."""
        total = self.total
        lines = [f"{total.rows:,} rows, {total.words:,} words, {total.spans:,} spans: {self.out}"]
        if total.bad:
            lines.append(f"{total.bad:,} invalid rows, with reasons: {self.bad_rows}")
        if total.seconds:
            lines.append(f"{total.seconds:,.0f} s, {total.words_a_second:,.0f} words/s")
        else:
            lines.append("every part was already finished")
        return "\n".join(lines)


def run_bulk(
    source: str | Path,
    out: str | Path,
    options: BulkOptions | None = None,
    workers: Workers | None = None,
    *,
    model: str | Path | Mapping[str, str | Path] | None = None,
    report: Callable[[Progress], None] | None = None,
) -> BulkResult:
    """Label all texts of a file or folder, on one machine or a cluster; the same call again resumes the run.

    Args:
        source: path or URL of a file or folder: Parquet, JSON lines, or plain text with one text per line.
        out: path or URL of a folder for the spans, with one file per part of the input.
        options: options that decide the result.
        workers: worker processes.
        model: saved labeler, folder or hub id; several by name, which is then written into each span; the shipped one
            when None.
        report: called with the progress after each part.

    Raises:
        DataError: the input cannot be read, has changed since the run started or lacks a column; or no row could be
            labeled (reported after the run; the invalid rows are written with their reasons).
        ConfigError: the folder belongs to a run with other options, or contains other files; too few CPUs or GPUs;
            a labeler has no thresholds, or no name.
        ModelError: a labeler cannot be loaded.
    """
    from lookboth.labelers import find_folder, model_digest

    options, workers = options or BulkOptions(), workers or Workers()
    place, folder = open_place(str(source)), OutFolder(open_place(str(out)))
    _refuse_out_in_source(place, folder.place)
    models = _named(model) if isinstance(model, Mapping) else {"": model}
    folders = {name: find_folder(own) for name, own in models.items()}
    # Checked here, before the output folder is created and Ray is started.
    if options.thresholds:
        _require_thresholds(folders)
    root, files = find_files(place, options.input_format)
    digests = {name: model_digest(own) for name, own in folders.items()}
    wanted = Manifest(decided(options, files), digests, tuple(files))
    sources = {name: _labeler_for_workers(own, folders[name]) for name, own in models.items()}
    job = WorkerSpec(_for_workers(source), root.path, _for_workers(out), sources)
    folder.prepare()
    with folder.lock():
        # This run has the lock, so no worker of an earlier run is active.
        folder.clear_work()
        manifest = _begin_or_resume(folder, root, wanted)
        total = _label_missing(job, folder, manifest, workers, report)
    if total.parts < total.all_parts:
        raise LookbothError(
            f"{total.all_parts - total.parts} parts were not written. Type the same command again to resume."
        )
    _require_labeled(total, str(source), folder)
    return BulkResult(str(out), folder.bad_folder, total)


def _label_missing(
    job: WorkerSpec,
    folder: OutFolder,
    manifest: Manifest,
    workers: Workers,
    report: Callable[[Progress], None] | None,
) -> Progress:
    """Label the parts without a receipt, and return the totals of all parts."""
    done = folder.receipts(manifest)
    meter = Meter([part.size for part in manifest.parts], tuple(done.values()))
    missing = [number for number in range(len(manifest.parts)) if number not in done]
    if missing:
        _label(job, missing, workers, meter, report)
        # Only killed workers have left files here; no worker is running now.
        folder.clear_work()
    return meter.progress()


def _require_labeled(total: Progress, source: str, folder: OutFolder) -> None:
    """Raise DataError if no row was labeled."""
    if total.rows:
        return
    if not total.bad:
        raise DataError(f"{source}: the files contain no rows. Name other files.")
    raise DataError(
        f"{source}: no row was labeled. All {total.bad:,} rows are invalid, the first one because: "
        f"{folder.first_reason()}. Reasons of the others: {folder.bad_folder}. Correct the input, or use other "
        "options and another output folder."
    )


def _label(
    job: WorkerSpec,
    missing: list[int],
    workers: Workers,
    meter: Meter,
    report: Callable[[Progress], None] | None,
) -> None:
    with (
        connected(workers),
        closing(label_parts(job, missing, workers)) as receipts,
        _interruptible() as raise_if_interrupted,
    ):
        for receipt in receipts:
            progress = meter.add(receipt)
            if report is not None:
                report(progress)
            raise_if_interrupted()


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Yield a function that raises KeyboardInterrupt if Ctrl-C was pressed."""
    # Ray may catch the first KeyboardInterrupt, so it is remembered and raised again outside Ray.
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    def raise_again() -> None:
        if interrupted:
            raise KeyboardInterrupt

    # Python delivers signals to the main thread only.
    if threading.current_thread() is not threading.main_thread():
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
    # A manifest without any part may be replaced, as no result depends on it.
    if different and not folder.is_blank():
        raise ConfigError(
            f"{folder.place.path} belongs to a run with other options: {'; '.join(different)}. "
            "Use the options of that run, or another output folder."
        )
    parts = divide_into_parts(root, wanted.files, wanted.options)
    require_keys(root, wanted.files, wanted.options)
    manifest = replace(wanted, parts=tuple(parts))
    folder.write_manifest(manifest)
    return manifest


def _named(models: Mapping[str, str | Path]) -> Mapping[str, str | Path]:
    if not models or not all(models):
        raise ConfigError(
            f"model: {dict(models)!r:.200} must name one labeler or more, each with a name that is not empty."
        )
    return models


def _require_thresholds(folders: Mapping[str, Path]) -> None:
    from lookboth.labelers import read_confidence

    for name, folder in folders.items():
        try:
            read_confidence(folder).require_thresholds()
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}" if name else str(error)) from error


def _refuse_out_in_source(source: Place, out: Place) -> None:
    inside = PurePosixPath(out.path).is_relative_to(PurePosixPath(source.path))
    if inside and type(source.filesystem) is type(out.filesystem):
        raise ConfigError(
            f"the output folder ({out.path}) is in the input folder ({source.path}), so a resumed run would read its "
            "own result. Use another output folder."
        )


def _labeler_for_workers(model: str | Path | None, folder: Path) -> str | None:
    """Return the absolute path of a folder; hub ids and shipped labelers are found again on each machine."""
    if model is None:
        return None
    return str(folder.absolute() if Path(model).is_dir() else model)


def _for_workers(given: str | Path) -> str:
    """Return the URL, or the absolute path, as workers run in another working directory."""
    return str(given) if "://" in str(given) else str(Path(given).expanduser().absolute())
