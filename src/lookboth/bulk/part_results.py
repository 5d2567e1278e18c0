"""The output folder: a file a part, a receipt once it is written, bad rows beside."""

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
    """That a part is written, and what is in it.

    Args:
        part: its number.
        rows: labeled rows; bad: rows that could not be.
        words, spans: in the labeled rows.
        size: bytes of the file of spans.
        seconds: from reading to writing; worker: "HOST:PROCESS" that did it.
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
    """Where a bulk run writes: `part-*` (spans), `_bad` (bad rows), `_bulk` (manifest and receipts).

    Args:
        place: the folder; made by `prepare`.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    def prepare(self) -> None:
        """Make the folder and what is in it.

        Raises:
            ConfigError: it holds other things, or a link in the place of one of its own folders.
        """
        self._refuse_other_things()
        for name in (_RECEIPTS, _WORK, _TRIES, _BAD):
            self.place.within(name).make_folder()

    def lock(self) -> AbstractContextManager[object]:
        """Return a lock that keeps a second run out; the system frees it when the process dies, however it dies.

        Raises:
            ConfigError: on entering: another run is at work. In an object store nobody can tell.
        """
        return _Lock(self.place) if self.place.is_local else nullcontext()

    def clear_work(self) -> None:
        """Remove what killed workers left half-written, and the counts of tries."""
        for name in (_WORK, _TRIES):
            self.place.within(name).empty()

    def count_try(self, part: int) -> int:
        """Count that a worker begins a part; return how many have since the run was started or resumed."""
        place = self.place.within(f"{_TRIES}/{part:08}")
        tries = 1 + (int(place.read()) if place.exists() else 0)
        place.write(str(tries).encode(), work=self.place.within(_WORK))
        return tries

    def read_manifest(self) -> Manifest | None:
        """Return what the run here was asked for; None if none has begun.

        Raises:
            DataError: it is damaged or from a newer version.
        """
        place = self.place.within(_MANIFEST)
        return Manifest.from_json(place.read(), place.path) if place.exists() else None

    def write_manifest(self, manifest: Manifest) -> None:
        """Begin a run."""
        self._write(_MANIFEST, manifest.to_json().encode())

    def is_blank(self) -> bool:
        """Tell whether nothing of any part is written."""
        folders = (self.place, self.place.within(_BAD), self.place.within(_RECEIPTS))
        infos = [info for folder in folders for info in folder.list()]
        return not any(PurePosixPath(info.path).name.startswith("part-") for info in infos)

    def receipts(self, manifest: Manifest) -> dict[int, Receipt]:
        """Return the receipt of each part whose file is there in the size it was written in."""
        sizes = {PurePosixPath(info.path).name: info.size for info in self.place.list()}
        infos = [info for info in self.place.within(_RECEIPTS).list() if info.path.endswith(".json")]
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(lambda info: self._read_receipt(Place(self.place.filesystem, info.path)), infos)
            return {
                receipt.part: receipt
                for receipt in found
                if receipt and sizes.get(part_name(receipt.part, manifest)) == receipt.size
            }

    def receipt(self, part: int, manifest: Manifest) -> Receipt | None:
        """Return the receipt of a part that is written."""
        place = self.place.within(_receipt_name(part))
        written = self.place.within(part_name(part, manifest)).info()
        receipt = self._read_receipt(place) if place.exists() else None
        return receipt if receipt and receipt.size == written.size else None

    def write_part(self, receipt: Receipt, manifest: Manifest, spans: bytes, bad: bytes) -> None:
        """Write a part; it counts as written when its receipt is there, which therefore comes last.

        Whatever is killed before is done again, and writes the same files over.

        Args:
            receipt: of the part.
            manifest: of the run.
            spans: the file of spans.
            bad: JSON lines of bad rows; no file if there are none.
        """
        if bad:
            self._write(f"{_BAD}/part-{receipt.part:08}.jsonl", bad)
        self._write(part_name(receipt.part, manifest), spans)
        self._write(_receipt_name(receipt.part), json.dumps(asdict(receipt)).encode())

    @property
    def bad_folder(self) -> str:
        """Where bad rows are."""
        return self.place.within(_BAD).path

    def first_reason(self) -> str:
        """Return what is wrong with the first invalid row."""
        file = Place(self.place.filesystem, self.place.within(_BAD).list()[0].path)
        return str(json.loads(file.read().split(b"\n", 1)[0])["message"])

    def _write(self, name: str, data: bytes) -> None:
        self.place.within(name).write(data, work=self.place.within(_WORK))

    def _read_receipt(self, place: Place) -> Receipt | None:
        try:
            return Receipt(**json.loads(place.read()))
        except (ValueError, TypeError):  # damaged: the part is done again
            return None

    def _refuse_other_things(self) -> None:
        if self.place.info().type is FileType.File:
            raise ConfigError(f"{self.place.path} is a file; give a folder for the result.")
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
                f"{self.place.path} holds other things ({', '.join(others[:3])}). Give a new or empty folder."
            )


class _Lock(AbstractContextManager[object]):
    def __init__(self, folder: Place) -> None:
        self.folder = folder
        self.lock = FileLock(folder.within(_LOCK).path, timeout=0)

    def __enter__(self) -> object:
        try:
            return self.lock.acquire()
        except Timeout as error:
            raise ConfigError(f"another run is writing into {self.folder.path}; wait for its end.") from error

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def part_name(part: int, manifest: Manifest) -> str:
    """Return the name of a part's file of spans."""
    return f"part-{part:08}.{manifest.options.output_format}"


def _receipt_name(part: int) -> str:
    return f"{_RECEIPTS}/part-{part:08}.json"
