"""Decisions about findings, and the corrected data that they make."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lookboth.audit.auditing import Audit, read_audited
from lookboth.audit.findings import Finding
from lookboth.audit.rendering import replace_spans
from lookboth.config import RunConfig, parse_config
from lookboth.data import encode_spans, json_line, relabel_file, suffix_of
from lookboth.data.conversion import write_data
from lookboth.errors import DataError, first_line
from lookboth.files import write_whole
from lookboth.training import hash_examples, read_options
from lookboth.types import Dataset, Example, Span

LOGGER = logging.getLogger(__name__)
DECISIONS = ("accept", "reject", "skip")


@dataclass(frozen=True)
class Decided:
    """The result of decisions.

    Args:
        file: the corrected data; patch: one line of JSON per changed sentence.
        counts: number of findings by decision.
        sentences: number of changed sentences.
    """

    file: Path
    patch: Path
    counts: Mapping[str, int]
    sentences: int

    def describe(self) -> str:
        """Return the counts and the files as text."""
        counts = ", ".join(f"{name} {self.counts.get(name, 0)}" for name in DECISIONS)
        return f"{counts}; {self.sentences} sentences changed\ncorrected data: {self.file}\nchanges: {self.patch}"


def decision_header(result: Audit) -> dict[str, Any]:
    """Return what a file of decisions says about its data: how they are read, and their hash."""
    return {**result.source, "digest": result.digest}


def apply_decisions(decisions: str | Path, out: str | Path) -> Decided:
    """Write the data with all accepted suggestions into `out`, and the changes as JSON lines.

    The source is not changed. In CoNLL columns and JSON only the labels of changed words are replaced. Other data are
    written as JSON lines with words and labels alone, and this is logged.

    Args:
        decisions: the file that the page of an audit downloads.
        out: folder for `corrected.SUFFIX` and `changes.jsonl`.

    Raises:
        DataError: the file is not such a file, the data are not those of the audit, or decisions contradict each other.
    """
    header, made = _read(Path(decisions))
    config = parse_config({"data": header["data"], "scheme": header["scheme"]}, where=str(decisions))
    dataset = read_audited(config)
    if hash_examples(dataset.examples) != header["digest"]:
        raise DataError(f"{dataset.name}: the data are not those of the audit. Repeat the audit.")
    accepted: dict[int, list[Finding]] = {}
    for decision, finding in made:
        if decision == "accept":
            accepted.setdefault(finding.sentence, []).append(finding)
    changes = {
        number: _changed(dataset.examples, number, findings, dataset.scheme)
        for number, findings in sorted(accepted.items())
    }
    file = _write(dataset, changes, Path(out), config)
    patch = Path(out) / "changes.jsonl"
    write_whole(patch, _patch(dataset.examples, changes))
    return Decided(file, patch, Counter(decision for decision, _ in made), len(changes))


def _read(path: Path) -> tuple[dict[str, Any], list[tuple[str, Finding]]]:
    """Return the header and the decisions of a file."""
    try:
        value = json.loads(path.read_bytes())
        header = {key: value["audit"][key] for key in ("data", "scheme", "digest")}
        return header, [_parse(item) for item in value["decisions"]]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"{path}: not decisions of an audit ({first_line(error)}). Name the file that its page downloads."
        ) from error


def _parse(item: Any) -> tuple[str, Finding]:
    if item["decision"] not in DECISIONS:
        raise ValueError(f"the decision {item['decision']!r:.40} is not {', '.join(DECISIONS)}")
    given, suggested = (
        tuple(Span(int(span["start"]), int(span["end"]), str(span["label"])) for span in item[side])
        for side in ("given", "suggested")
    )
    return item["decision"], Finding(int(item["sentence"]), "", (), given, suggested, 0.0)


def _changed(
    examples: Sequence[Example], number: int, findings: Sequence[Finding], scheme: str
) -> tuple[Span, ...]:
    """Return the spans of a sentence after its accepted suggestions."""
    if not 0 <= number < len(examples):
        raise DataError(f"sentence {number}: the data have {len(examples)} sentences. Repeat the audit.")
    example = examples[number]
    given = [span for finding in findings for span in finding.given]
    if len(set(given)) < len(given) or not set(given) <= set(example.spans):
        raise DataError(
            f"{example.source}: two decisions change one span, or the data lack it. Repeat the audit."
        )
    spans = replace_spans(example.spans, findings)
    # Raises an error for spans that overlap or exceed the sentence.
    encode_spans(spans, len(example.words), scheme)
    return spans


def _write(dataset: Dataset, changes: Mapping[int, Sequence[Span]], out: Path, config: RunConfig) -> Path:
    """Write the corrected data as a copy of the source, or as JSON lines if that is not possible."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"corrected{suffix_of(dataset.name)}"
    try:
        relabel_file(dataset, changes, file, read_options(config), config.data.label_map)
    except DataError as error:
        file = out / "corrected.jsonl"
        LOGGER.warning(f"{str(error).rstrip('.')}. Words and labels alone are written to {file}.")
        examples = [
            replace(example, spans=tuple(changes.get(number, example.spans)))
            for number, example in enumerate(dataset.examples)
        ]
        write_data(replace(dataset, examples=examples), file)
    return file


def _patch(examples: Sequence[Example], changes: Mapping[int, Sequence[Span]]) -> Iterator[str]:
    for number, spans in changes.items():
        example = examples[number]
        sides = {"before": example.spans, "after": spans}
        shown = {side: [span._asdict() for span in own] for side, own in sides.items()}
        yield json_line({"sentence": number, "where": example.source, "words": list(example.words), **shown})
