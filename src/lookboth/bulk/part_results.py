"""The output folder: one file of spans and one receipt per part, and the invalid rows."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout
from pyarrow.fs import FileType

from lookboth.bulk.manifest import Manifest
from lookboth.bulk.storage import Place
from lookboth.errors import ConfigError

_RUN = "_bulk"
_BAD = "_bad"
_MANIFEST = f"{_RUN}/manifest.json"
_RECEIPTS = f"{_RUN}/parts"
_WORK = f"{_RUN}/work"
_TRIES = f"{_RUN}/tries"
_LOCK = f"{_RUN}/lock"
_THREADS = 16


@dataclass(frozen=True)
class Receipt:
    """Receipt of a finished part: row counts, file size and worker.

    Args:
        part: number of the part.
        rows: number of labeled rows.
        bad: number of invalid rows.
        words, spans: counts in the labeled rows.
        size: bytes of the file of spans.
        seconds: seconds from reading to writing.
        worker: "HOST:PROCESS" of the worker.
    """

    part: int
    rows: int
    bad: int
    words: int
    spans: int
    size: int
    seconds: float
    worker: str


class OutFolder:
    """Output folder of a bulk run: `part-*` (spans), `_bad` (invalid rows), `_bulk` (manifest and receipts).

    Args:
        place: the folder; `prepare` creates it.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    def prepare(self) -> None:
        """Create the folder and its subfolders.

        Raises:
            ConfigError: the folder contains other files, or one of its subfolders is a link.
        """
        self._refuse_other_things()
        for name in (_RECEIPTS, _WORK, _TRIES, _BAD):
            self.place.within(name).make_folder()

    def lock(self) -> AbstractContextManager[object]:
        """Return a lock against a second run; the system releases it when the process ends, even if killed.

        Raises:
            ConfigError: on entering: another run holds the lock. Object stores have no lock, so there the second run
                is not detected.
        """
        return _Lock(self.place) if self.place.is_local else nullcontext()

    def clear_work(self) -> None:
        """Remove partial files of killed workers, and the counts of attempts per part."""
        for name in (_WORK, _TRIES):
            self.place.within(name).empty()

    def count_try(self, part: int) -> int:
        """Count one more attempt at a part; return the attempts since the run was started or resumed."""
        place = self.place.within(f"{_TRIES}/{part:08}")
        tries = 1 + (int(place.read()) if place.exists() else 0)
        place.write(str(tries).encode(), work=self.place.within(_WORK))
        return tries

    def read_manifest(self) -> Manifest | None:
        """Return the manifest of the run in this folder; None if there is none.

        Raises:
            DataError: the manifest is damaged or from a newer version.
        """
        place = self.place.within(_MANIFEST)
        return Manifest.from_json(place.read(), place.path) if place.exists() else None

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest, which starts a run."""
        self._write(_MANIFEST, manifest.to_json().encode())

    def is_blank(self) -> bool:
        """Return whether no file of any part exists."""
        folders = (self.place, self.place.within(_BAD), self.place.within(_RECEIPTS))
        infos = [info for folder in folders for info in folder.list()]
        return not any(PurePosixPath(info.path).name.startswith("part-") for info in infos)

    def receipts(self, manifest: Manifest) -> dict[int, Receipt]:
        """Return the receipts of the parts whose output file exists and has the recorded size."""
        sizes = {PurePosixPath(info.path).name: info.size for info in self.place.list()}
        infos = [info for info in self.place.within(_RECEIPTS).list() if info.path.endswith(".json")]
        # In parallel, because object stores take long to answer each request.
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(lambda info: self._read_receipt(Place(self.place.filesystem, info.path)), infos)
            return {
                receipt.part: receipt
                for receipt in found
                if receipt and sizes.get(part_name(receipt.part, manifest)) == receipt.size
            }

    def receipt(self, part: int, manifest: Manifest) -> Receipt | None:
        """Return the receipt of a part; None unless its output file has the recorded size."""
        place = self.place.within(_receipt_name(part))
        written = self.place.within(part_name(part, manifest)).info()
        receipt = self._read_receipt(place) if place.exists() else None
        return receipt if receipt and receipt.size == written.size else None

    def write_part(self, receipt: Receipt, manifest: Manifest, spans: bytes, bad: bytes) -> None:
        """Write the files of a part, and its receipt last.

        Args:
            receipt: receipt of the part.
            manifest: manifest of the run.
            spans: content of the file of spans.
            bad: JSON lines of the invalid rows; no file is written if it is empty.
        """
        # A part counts as finished once its receipt exists. A run killed before then labels the part again and
        # overwrites the same files.
        if bad:
            self._write(f"{_BAD}/part-{receipt.part:08}.jsonl", bad)
        self._write(part_name(receipt.part, manifest), spans)
        self._write(_receipt_name(receipt.part), json.dumps(asdict(receipt)).encode())

    @property
    def bad_folder(self) -> str:
        """Return the path of the folder with the invalid rows."""
        return self.place.within(_BAD).path

    def first_reason(self) -> str:
        """Return the message of the first invalid row."""
        file = Place(self.place.filesystem, self.place.within(_BAD).list()[0].path)
        return str(json.loads(file.read().split(b"\n", 1)[0])["message"])

    def _write(self, name: str, data: bytes) -> None:
        self.place.within(name).write(data, work=self.place.within(_WORK))

    def _read_receipt(self, place: Place) -> Receipt | None:
        try:
            return Receipt(**json.loads(place.read()))
        # Without a readable receipt the part is labeled again.
        except (ValueError, TypeError):
            return None

    def _refuse_other_things(self) -> None:
        if self.place.info().type is FileType.File:
            raise ConfigError(f"{self.place.path} is a file; give a folder for the output.")
        if self.place.is_local:
            for name in (_RUN, _RECEIPTS, _WORK, _TRIES, _BAD):
                if Path(self.place.within(name).path).is_symlink():
                    raise ConfigError(
                        f"{self.place.within(name).path} is a link. Remove it, or give another folder."
                    )
        names = {PurePosixPath(info.path).name for info in self.place.list()}
        begun = self.place.within(_MANIFEST).exists()
        others = sorted(name for name in names - {_RUN, _BAD} if not (begun and name.startswith("part-")))
        if others:
            raise ConfigError(
                f"{self.place.path} contains other files ({', '.join(others[:3])}). Give a new or empty folder."
            )


class _Lock(AbstractContextManager[object]):
    def __init__(self, folder: Place) -> None:
        self.folder = folder
        self.lock = FileLock(folder.within(_LOCK).path, timeout=0)

    def __enter__(self) -> object:
        try:
            return self.lock.acquire()
        except Timeout as error:
            raise ConfigError(
                f"another run is writing to {self.folder.path}; wait until it has finished."
            ) from error

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def part_name(part: int, manifest: Manifest) -> str:
    """Return the name of a part's output file."""
    return f"part-{part:08}.{manifest.options.output_format}"


def _receipt_name(part: int) -> str:
    return f"{_RECEIPTS}/part-{part:08}.json"
