"""The work of a worker process: read a part, label it, write it and return its receipt."""

import json
import os
import socket
import time
import traceback
from collections.abc import Mapping, Sequence
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
from lookboth.compat import keep_few_products, return_free_memory
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
        models: folder or hub id of each labeler by name, None for the shipped one; the name is "" if there is only one.
    """

    source: str
    root: str
    out: str
    models: Mapping[str, str | None]


class PartLabeler:
    """Labels parts; created once per worker process, which keeps the labelers loaded.

    They are loaded with the first part, so that an error in loading is returned for that part. If the
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
            # Labelers may split a text into different words; the first one's are counted.
            words=sum(len(next(iter(found.values())).words) for _, found in labeled),
            spans=sum(len(one.labeled_spans()) for _, found in labeled for one in found.values()),
            size=len(spans),
            seconds=round(time.monotonic() - start, 3),
            worker=self.worker,
        )
        self._out.write_part(receipt, self._manifest, spans, encode_bad(file.name, bad))
        return_free_memory()
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
        """Return the rows with their predictions; a row that a labeler refuses is marked as invalid."""
        try:
            return list(zip(rows, self._predict([str(row.text) for row in rows]), strict=True))
        except LookbothError:
            labeled = [pair for row in rows if (pair := self._label_alone(row)) is not None]
            if not labeled and len(rows) > _MANY:
                raise
            return labeled

    def _label_alone(self, row: Row) -> Labeled | None:
        found = {}
        for name, labeler in self._labelers.items():
            try:
                (prediction,) = labeler.predict(str(row.text), batch_tokens=self.batch_tokens)
            except LookbothError as error:
                row.invalidate("not-labeled", f"{name}: {error}" if name else str(error))
                return None
            found[name] = self._keep_above(name, prediction)
        return row, found

    def _predict(self, texts: Sequence[str]) -> list[dict[str, Prediction]]:
        """Return the prediction of each labeler for each text, by name."""
        from lookboth.labelers import predict_mixed

        pairs = [(labeler, text) for labeler in self._labelers.values() for text in texts]
        found = iter(predict_mixed(pairs, self.batch_tokens))
        by_name = {name: [self._keep_above(name, next(found)) for _ in texts] for name in self._labelers}
        return [{name: own[number] for name, own in by_name.items()} for number in range(len(texts))]

    def _keep_above(self, name: str, prediction: Prediction) -> Prediction:
        return prediction.above(self._manifest.options.min_score).above(self._least[name])

    def _encode(self, file: InputFile, part: Part, labeled: Sequence[Labeled]) -> bytes:
        options, rows = self._manifest.options, [row for row, _ in labeled]
        if options.output_format == "jsonl":
            return encode_json_lines(file.name, labeled)
        if file.format == "parquet":
            columns = kept_columns(self._folder, file, part, options, rows)
        else:
            columns = {name: as_strings(row.kept[name] for row in rows) for name in options.keep}
        return encode_parquet(file.name, labeled, columns, named=self._manifest.is_named)

    def _load(self) -> None:
        """Load labelers and thresholds, so that an error in loading is not blamed on a row."""
        _ = self._labelers, self._least

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
    def _labelers(self) -> "Mapping[str, TextLabeler]":
        from lookboth.labelers import LabelerPool

        keep_few_products("bulk")
        self._require_same_files()
        options = self._manifest.options
        pool = LabelerPool(device=self.device, precision=options.precision)
        pool.add(self.job.models)
        return _named_now(pool.labelers, options.labels)

    def _require_same_files(self) -> None:
        from lookboth.labelers import find_folder, model_digest

        for name, model in self.job.models.items():
            if model_digest(find_folder(model)) != self._manifest.models[name]:
                raise ModelError(
                    f"the labeler {name or model or 'shipped'!r} of the worker {self.worker} differs from the one on "
                    "the machine that started the run. Install the same version and files on all machines."
                )

    @cached_property
    def _least(self) -> Mapping[str, Any]:
        """Lowest accepted score of each label, by labeler."""
        from lookboth.inference import saved_thresholds

        applied = self._manifest.options.thresholds
        return {
            name: saved_thresholds(labeler.config) if applied else {}
            for name, labeler in self._labelers.items()
        }


def _named_now(labelers: "Mapping[str, TextLabeler]", labels: Sequence[str]) -> "Mapping[str, TextLabeler]":
    """Return the labelers with `labels`, if there are any, as the labels of those that read them in prediction.

    Raises:
        ModelError: none of them does.
    """
    if not labels:
        return labelers
    # Without any, the first one's refusal says which labelers do.
    reading = {name for name, labeler in labelers.items() if labeler.takes_labels} or labelers.keys()
    return {
        name: labeler.with_labels(labels) if name in reading else labeler
        for name, labeler in labelers.items()
    }
