"""Predictions as columns of a Hugging Face dataset: `data.map(ColumnLabeler(FOLDER), batched=True)`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lookboth.compat import is_lazy
from lookboth.errors import DataError
from lookboth.inference import TextLabeler
from lookboth.labelers import find_folder, open_labeler
from lookboth.types import Prediction

# Imported here because importing it makes the later fork of `map(num_proc=...)` safe. An exported labeler also runs
# without torch.
with suppress(ModuleNotFoundError):
    from lookboth.models import compute_in  # noqa: F401

if TYPE_CHECKING:
    import datasets


class ColumnLabeler:
    """Adds the columns that a labeler predicts to a batch of rows, or to one row without `batched=True`.

    A labeler of words adds `spans` (lists of start, end, label, text, score; positions in characters), `words` and
    `tags`. A labeler of whole texts adds `labels` (label, score). The weights are loaded with the first batch, once per
    process of `map(num_proc=...)`. The fingerprint by which `datasets` caches results contains the names, sizes and
    times of the labeler's files, not the weights.

    Args:
        model: saved labeler, folder or hub id; the shipped one when None.
        column: input column with texts or lists of words.
        prefix: prefix of the new columns' names, so that no existing column is overwritten.
        batch_tokens: tokens computed at once; None: a number that suits the device.
        device: "cpu", "cuda", ...; None: a GPU if there is one.
        holds: content of the column, "texts" or "words". Needed only if the input is a plain dict of strings, as from
            an IterableDataset: it could be a batch of texts or one row of words.

    >>> ColumnLabeler(column="sentence")({"text": ["Ada"]})
    Traceback (most recent call last):
    lookboth.errors.DataError: no column 'sentence' in the data; there are text. Type: ColumnLabeler(..., column=...)
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        column: str = "text",
        prefix: str = "predicted_",
        batch_tokens: int | None = None,
        device: str | None = None,
        holds: Literal["texts", "words"] | None = None,
    ) -> None:
        self.holds = holds
        self.model = None if model is None else str(model)
        self.column, self.prefix = column, prefix
        self.batch_tokens, self.device = batch_tokens, device
        # `datasets` hashes this state for its cache, so changed files of the labeler invalidate cached predictions.
        files = sorted(file for file in find_folder(model).rglob("*") if file.is_file())
        self.stamp = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the weights, as each process loads its own."""
        return {key: value for key, value in vars(self).items() if key != "labeler"}

    @cached_property
    def labeler(self) -> TextLabeler:
        """Return the labeler, which is loaded on first use."""
        return open_labeler(self.model, device=self.device)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return the new columns for a batch of rows, or for one row.

        Args:
            batch: columns by name, as `map` passes them.

        Raises:
            DataError: the column is missing or contains neither texts nor lists of words; or a plain dict of strings
                could be a batch of texts or one row of words.
        """
        if not isinstance(batch, Mapping):
            raise DataError(
                f"{batch!r:.60}: expected columns by name. Leave out input_columns; "
                f"ColumnLabeler(..., column={self.column!r}) chooses the column."
            )
        if self.column not in batch:
            known = ", ".join(batch)
            raise DataError(
                f"no column {self.column!r} in the data; there are {known}. Type: ColumnLabeler(..., column=...)"
            )
        values = batch[self.column]
        if _is_row(batch, values) or (self.holds == "words" and _all_strings(values)):
            return {name: column[0] for name, column in self._columns([values]).items()}
        if self.holds is None and not _is_batch(batch) and _may_be_words(values):
            raise DataError(
                f"column {self.column!r} is {values!r:.60}: a batch of texts, or one row of words? Type: "
                "map(..., batched=True) and ColumnLabeler(..., holds='texts'), or ColumnLabeler(..., holds='words')."
            )
        return self._columns(values)

    def _columns(self, values: Sequence[Any]) -> dict[str, list[Any]]:
        found = self._predict(values)
        rows = [_row(prediction) for prediction in found]
        # An empty batch must have the same columns, so the names come from an empty prediction.
        names = _row(Prediction("", (), (), (), labels=() if self._of_texts else None))
        return {self.prefix + name: [row[name] for row in rows] for name in names}

    def features(self, data: "datasets.Features") -> "datasets.Features":
        """Return the features of the data and of the new columns, for `map(features=...)`.

        Without it `datasets` infers the types from the first rows, which fails if these rows have no spans.
        """
        from datasets import Features, Value

        score = {"label": Value("string"), "score": Value("float64")}
        place = {"start": Value("int64"), "end": Value("int64"), "text": Value("string")}
        words = {"words": [Value("string")], "tags": [Value("string")], "spans": [score | place]}
        new: dict[str, Any] = {"labels": [score]} if self._of_texts else words
        return Features({**data, **{self.prefix + name: kind for name, kind in new.items()}})

    @property
    def _of_texts(self) -> bool:
        return bool(self.labeler.config.task == "classification")

    def _predict(self, values: Sequence[Any]) -> list[Prediction]:
        if all(isinstance(value, str) for value in values):
            return self.labeler.predict(values, batch_tokens=self.batch_tokens)
        if all(isinstance(value, list) and all(isinstance(w, str) for w in value) for value in values):
            return self.labeler.predict_words(values, batch_tokens=self.batch_tokens)
        invalid = next(value for value in values if not isinstance(value, str))
        raise DataError(
            f"column {self.column!r} contains {invalid!r:.60}; it must contain texts, or lists of words."
        )


def _is_row(batch: Mapping[str, Any], values: Any) -> bool:
    """Return whether `map` passed one row, not a batch: by its type, a single text or columns of unequal length."""
    lengths = {len(column) if isinstance(column, list) else None for column in batch.values()}
    unequal = _all_strings(values) and len(lengths) > 1
    return is_lazy(batch, "LazyRow") or isinstance(values, str) or (unequal and not _is_batch(batch))


def _is_batch(batch: Mapping[str, Any]) -> bool:
    return is_lazy(batch, "LazyBatch")


def _all_strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _may_be_words(values: Any) -> bool:
    """Return whether there are several strings and none contains a space, as is true for words and rare for texts."""
    return _all_strings(values) and len(values) > 1 and not any(len(value.split()) > 1 for value in values)


def _row(prediction: Prediction) -> dict[str, Any]:
    record = prediction.to_dict()
    if prediction.labels is not None:
        return {"labels": record["labels"]}
    return {"words": list(prediction.words), "tags": list(prediction.tags), "spans": record["spans"]}
