"""Predictions as columns of a Hugging Face data set: `data.map(ColumnLabeler(FOLDER), batched=True)`."""

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

with suppress(ModuleNotFoundError):  # an exported labeler does without torch
    from lookboth.models import compute_in  # noqa: F401  # before `map(num_proc=...)` forks, which it makes safe

if TYPE_CHECKING:
    import datasets


class ColumnLabeler:
    """Return the columns that a labeler predicts for a batch of rows, or without `batched=True` for one row.

    Of words: `spans` (lists of start, end, label, text, score; characters), `words` and `tags`; of whole texts `labels`
    (label, score). The weights are loaded at the first batch, once in each process of `map(num_proc=...)`, and are no
    part of the fingerprint by which `datasets` caches: that is the labeler's folder and when its files were written.

    Args:
        model: saved labeler, folder or hub id; the shipped one when None.
        column: of the input: texts, or lists of words.
        prefix: before the names of the new columns, so that none of the data's own is overwritten.
        batch_tokens: tokens computed at once; as many as suit the device when None.
        device: "cpu", "cuda", ...; a GPU where there is one when None.
        holds: what the column holds, "texts" or "words". Needed only where a plain dict of strings, such as an
            IterableDataset gives, may be a batch of texts or one row of words.

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
        files = sorted(file for file in find_folder(model).rglob("*") if file.is_file())
        self.stamp = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the weights: another process loads its own."""
        return {key: value for key, value in vars(self).items() if key != "labeler"}

    @cached_property
    def labeler(self) -> TextLabeler:
        """The labeler, loaded when it is first needed."""
        return open_labeler(self.model, device=self.device)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return the new columns for a batch of rows, or for one row.

        Args:
            batch: columns by name, as `map` gives them.

        Raises:
            DataError: the column is missing, holds neither texts nor lists of words, or a plain dict of strings may
                be a batch of texts or one row of words.
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
                f"column {self.column!r} holds {values!r:.60}: a batch of texts, or one row of words? Type: "
                "map(..., batched=True) and ColumnLabeler(..., holds='texts'), or ColumnLabeler(..., holds='words')."
            )
        return self._columns(values)

    def _columns(self, values: Sequence[Any]) -> dict[str, list[Any]]:
        found = self._predict(values)
        rows = [_row(prediction) for prediction in found]
        names = _row(Prediction("", (), (), (), labels=() if self._of_texts else None))
        return {self.prefix + name: [row[name] for row in rows] for name in names}

    def features(self, data: "datasets.Features") -> "datasets.Features":
        """Return the columns of the data and the new ones with their types, for `map(features=...)`.

        Without them `datasets` guesses the types from the first rows, and cannot where those have no spans.
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
        odd = next(value for value in values if not isinstance(value, str))
        raise DataError(f"column {self.column!r} holds {odd!r:.60}; it must be texts, or lists of words.")


def _is_row(batch: Mapping[str, Any], values: Any) -> bool:
    """Return whether `map` gave one row, not a batch: its kind, a text alone or unequal columns show it."""
    lengths = {len(column) if isinstance(column, list) else None for column in batch.values()}
    unequal = _all_strings(values) and len(lengths) > 1
    return is_lazy(batch, "LazyRow") or isinstance(values, str) or (unequal and not _is_batch(batch))


def _is_batch(batch: Mapping[str, Any]) -> bool:
    return is_lazy(batch, "LazyBatch")


def _all_strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _may_be_words(values: Any) -> bool:
    """Return whether several strings are given of which none has a space: words have none, few texts have none."""
    return _all_strings(values) and len(values) > 1 and not any(len(value.split()) > 1 for value in values)


def _row(prediction: Prediction) -> dict[str, Any]:
    record = prediction.to_dict()
    if prediction.labels is not None:
        return {"labels": record["labels"]}
    return {"words": list(prediction.words), "tags": list(prediction.tags), "spans": record["spans"]}
