"""The work of a worker process: read a part, label it, write it and return its receipt."""

import json
import os
import socket
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lookboth.bulk.encoding import Labeled, as_strings, encode_bad, encode_json_lines, encode_parquet
from lookboth.bulk.input_files import InputFile
from lookboth.bulk.manifest import Manifest
from lookboth.bulk.part_results import OutFolder, Receipt
from lookboth.bulk.parts import Part
from lookboth.bulk.rows import Row, kept_columns, read_rows
from lookboth.bulk.storage import Place, open_place
from lookboth.errors import ConfigError, LookbothError, ModelError, first_line
from lookboth.types import Prediction

if TYPE_CHECKING:
    from lookboth.inference import TextLabeler


# Attempts at one part before the run stops.
_TRIES = 4
# If the labeler refuses more rows than this and labels none, the labeler is at fault, not the rows.
_MANY = 10


def receipt_from(answer: dict[str, str]) -> Receipt:
    """Return the receipt in a worker's answer.

    Raises:
        LookbothError: the error of the worker.
    """
    if answer["receipt"]:
        return Receipt(**json.loads(answer["receipt"]))
    kinds = {kind.__name__: kind for kind in LookbothError.__subclasses__()}
    raise kinds.get(answer["kind"], LookbothError)(answer["message"])


@dataclass(frozen=True)
class WorkerSpec:
    """Arguments of a worker; everything else is in the manifest.

    Args:
        source: path or URL of the input.
        root: path of the input folder in its file system.
        out: path or URL of the output folder.
        model: saved labeler, folder or hub id; the shipped one when None.
    """

    source: str
    root: str
    out: str
    model: str | None


class PartLabeler:
    """Labels parts; created once per worker process, which keeps the labeler loaded.

    The labeler is loaded with the first part, so that an error in loading is returned for that part. If the
    constructor failed, Ray would restart the process for ever.

    Args:
        job: the run.
        device: "cpu" or "cuda".
        batch_tokens: tokens computed at once; None: the labeler's default.
    """

    def __init__(self, job: WorkerSpec, device: str = "cpu", batch_tokens: int | None = None) -> None:
        self.job, self.device, self.batch_tokens = job, device, batch_tokens
        self.worker = f"{socket.gethostname()}:{os.getpid()}"

    def __call__(self, item: dict[str, Any]) -> dict[str, str]:
        """Label the part `item["part"]`, unless it is finished; return the input of `receipt_from`.

        Errors are returned, not raised: Ray would turn an exception into a long text.
        """
        try:
            receipt = self.label_part(int(item["part"]))
        except LookbothError as error:
            return {"receipt": "", "kind": type(error).__name__, "message": str(error)}
        except Exception as error:
            # Ray writes this to its log of the worker.
            traceback.print_exc()
            message = (
                f"part {item['part']}, worker {self.worker}: {type(error).__name__}: {first_line(error)}"
            )
            return {"receipt": "", "kind": "LookbothError", "message": message}
        return {"receipt": json.dumps(asdict(receipt)), "kind": "", "message": ""}

    def label_part(self, number: int) -> Receipt:
        """Label a part, write it and return its receipt; a finished part is not labeled again.

        Raises:
            LookbothError: labeler or input differ from those at the start of the run, or the output folder is not
                shared.
        """
        done = self._out.receipt(number, self._manifest)
        # An earlier worker may have written the part and died before it returned the receipt.
        if done is not None:
            return done
        self._count_try(number)
        self._load()
        start = time.monotonic()
        part = self._manifest.parts[number]
        file = self._manifest.files[part.file]
        rows = list(read_rows(self._folder, file, part, self._manifest.options))
        labeled = self._label([row for row in rows if row.text is not None])
        bad = [row for row in rows if row.text is None]
        spans = self._encode(file, part, labeled)
        receipt = Receipt(
            part=number,
            rows=len(labeled),
            bad=len(bad),
            words=sum(len(prediction.words) for _, prediction in labeled),
            spans=sum(len(prediction.labeled_spans()) for _, prediction in labeled),
            size=len(spans),
            seconds=round(time.monotonic() - start, 3),
            worker=self.worker,
        )
        self._out.write_part(receipt, self._manifest, spans, encode_bad(file.name, bad))
        return receipt

    def _count_try(self, number: int) -> None:
        """Raise LookbothError after too many attempts: Ray would restart workers that die on a part for ever."""
        tries = self._out.count_try(number)
        if tries > _TRIES:
            part = self._manifest.parts[number]
            raise LookbothError(
                f"{self._manifest.files[part.file].name}: {_TRIES} workers died while labeling {part.num_rows} rows "
                f"from row {part.row}; memory may be too small. Type the same command with fewer --workers or "
                "--batch-tokens."
            )

    def _label(self, rows: Sequence[Row]) -> list[Labeled]:
        """Return the rows with their predictions; a row that the labeler refuses is marked as invalid."""
        try:
            return list(zip(rows, self._predict([str(row.text) for row in rows]), strict=True))
        except LookbothError:
            labeled = [pair for row in rows if (pair := self._label_alone(row)) is not None]
            if not labeled and len(rows) > _MANY:
                raise
            return labeled

    def _label_alone(self, row: Row) -> Labeled | None:
        try:
            return row, self._predict([str(row.text)])[0]
        except LookbothError as error:
            row.invalidate("not-labeled", str(error))
            return None

    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        options = self._manifest.options
        found = self._labeler.stream(texts, batch_tokens=self.batch_tokens)
        return [prediction.above(options.min_score).above(self._least) for prediction in found]

    def _encode(self, file: InputFile, part: Part, labeled: Sequence[Labeled]) -> bytes:
        options, rows = self._manifest.options, [row for row, _ in labeled]
        if options.output_format == "jsonl":
            return encode_json_lines(file.name, labeled)
        if file.format == "parquet":
            return encode_parquet(file.name, labeled, kept_columns(self._folder, file, part, options, rows))
        columns = {name: as_strings(row.kept[name] for row in rows) for name in options.keep}
        return encode_parquet(file.name, labeled, columns)

    def _load(self) -> None:
        """Load labeler and thresholds, so that an error in loading is not blamed on a row."""
        _ = self._labeler, self._least

    @cached_property
    def _out(self) -> OutFolder:
        return OutFolder(open_place(self.job.out))

    @cached_property
    def _folder(self) -> Place:
        return open_place(self.job.source)._replace(path=self.job.root)

    @cached_property
    def _manifest(self) -> Manifest:
        manifest = self._out.read_manifest()
        if manifest is None:
            raise ConfigError(
                f"the worker {self.worker} cannot find {self.job.out}. Use a folder that all machines share, or the "
                "URL of an object store."
            )
        return manifest

    @cached_property
    def _labeler(self) -> "TextLabeler":
        from lookboth.labelers import find_folder, model_digest, open_labeler

        if model_digest(find_folder(self.job.model)) != self._manifest.model:
            raise ModelError(
                f"the labeler {self.job.model or 'shipped'!r} of the worker {self.worker} differs from the one on the "
                "machine that started the run. Install the same version and files on all machines."
            )
        options = self._manifest.options
        labeler = open_labeler(self.job.model, device=self.device, precision=options.precision)
        return labeler.with_labels(options.labels) if options.labels else labeler

    @cached_property
    def _least(self) -> Any:
        from lookboth.inference import saved_thresholds

        return saved_thresholds(self._labeler.config) if self._manifest.options.thresholds else {}
