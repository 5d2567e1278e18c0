"""Predictions of a run as spans, grouped by split."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lookboth.errors import DataError
from lookboth.evaluation.runfile import Run, read_predictions
from lookboth.run_folder import RunFolder
from lookboth.types import Span


class ScoredSentence(NamedTuple):
    """One sentence of `predictions.jsonl`.

    Args:
        words: words of the sentence.
        gold, predicted: spans over these words.
        source: "file:line" of the first word, or "".
    """

    words: tuple[str, ...]
    gold: tuple[Span, ...]
    predicted: tuple[Span, ...]
    source: str = ""


def predictions_by_split(run: Run) -> dict[str, list[ScoredSentence]]:
    """Return the sentences of a run, grouped by the name of their scores in run.json ("dev", "test:wnut17").

    Rows without a "split" are assigned in the order of the scores, by their numbers of sentences.

    Args:
        run: a run read from a folder.

    Raises:
        DataError: no predictions file, an invalid row, or rows whose split cannot be determined.
    """
    if run.folder is None:
        raise DataError("this run was not read from a folder, so it has no predictions; use read_run.")
    where = RunFolder(run.folder).predictions
    rows = list(read_predictions(run.folder))
    try:
        sentences = [_sentence(row) for row in rows]
    except (KeyError, TypeError) as error:
        raise DataError(f"{where}: invalid row ({error!r}); evaluate the run again.") from error
    named = [row["split"] for row in rows if isinstance(row.get("split"), str)]
    if len(named) < len(rows):
        named = list(_splits_in_order(run.scores, len(rows), str(where)))
    result: dict[str, list[ScoredSentence]] = {}
    for name, sentence in zip(named, sentences, strict=True):
        result.setdefault(name, []).append(sentence)
    return result


def _splits_in_order(scores: Mapping[str, Any], num_rows: int, where: str) -> Iterator[str]:
    sizes = {
        name: s["num_sentences"]
        for name, s in scores.items()
        if isinstance(s, Mapping) and "num_sentences" in s
    }
    if sum(sizes.values()) != num_rows:
        raise DataError(
            f"{where}: {num_rows} rows without a split, but scores of {sizes} sentences; "
            "the split of a row cannot be determined. Evaluate the run again."
        )
    for name, size in sizes.items():
        yield from [name] * size


def _sentence(row: Mapping[str, Any]) -> ScoredSentence:
    return ScoredSentence(
        tuple(row["words"]), _spans(row["gold"]), _spans(row["predicted"]), row.get("source", "")
    )


def _spans(records: Sequence[Mapping[str, Any]]) -> tuple[Span, ...]:
    return tuple(Span(record["start"], record["end"], record["label"]) for record in records)
