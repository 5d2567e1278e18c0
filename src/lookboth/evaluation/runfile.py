"""Files of a run folder: `run.json` (configuration, data, scores) and `predictions.jsonl`."""

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lookboth.errors import DataError
from lookboth.evaluation.metrics import AnySpan
from lookboth.evaluation.provenance import (
    fingerprint,
    git_commit,
    installed_versions,
    machine_facts,
    peak_memory,
    portable,
)
from lookboth.files import write_whole
from lookboth.run_folder import RUN_FILE, RunFolder
from lookboth.types import Example, PredictedSpan

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Run:
    """Content of `run.json`.

    Args:
        config: the full configuration, as read from the recipe and the options.
        scores: scores by name, for example {"test": {"micro": {"f1": 0.62}}}.
        plan: the mask plan as a string, or None for a model without one.
        seed: the seed of the run, or None.
        started: start time, ISO 8601 in UTC.
        wall_seconds: seconds from start to end.
        data: for each data file its path as given, its size in bytes and the sha256 of its content.
        versions: versions of lookboth, torch, transformers, peft, numpy and Python.
        commit: git commit of lookboth, with "+changes" if files were changed since; None outside a checkout.
        peak_memory_bytes: peak memory of the process ("cpu") and of the GPU ("cuda"); None if unknown.
        machine: number of CPUs, device name and platform.
        schema_version: version of the file format.
        folder: folder it was read from; not stored.
    """

    config: Mapping[str, Any]
    scores: Mapping[str, Any]
    plan: str | None
    seed: int | None
    started: str
    wall_seconds: float
    data: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str | None]
    commit: str | None
    peak_memory_bytes: Mapping[str, int | None]
    machine: Mapping[str, Any]
    schema_version: int = SCHEMA_VERSION
    folder: Path | None = field(default=None, compare=False)


def write_run(
    folder: str | Path,
    *,
    config: Mapping[str, Any],
    scores: Any,
    plan: object | None,
    seed: int | None,
    started: datetime,
    wall_seconds: float,
    data_files: Mapping[str, str | Path],
) -> Run:
    """Write `run.json` into a folder and return what was written.

    Args:
        folder: created if missing; an older run.json in it is replaced in one step.
        config: the full configuration; dataclasses, paths and objects with `to_dict` are converted to JSON.
        scores: a Scores, or Scores by name ({"dev": ..., "test": ...}).
        plan: the mask plan or its string; None for a model without one.
        seed: the seed of the run.
        started: start time, with a time zone.
        wall_seconds: seconds from start to end.
        data_files: the data files by role ({"train": path}); their content is hashed.

    Raises:
        DataError: when a data file cannot be read.
    """
    run = Run(
        config=_to_json(config),
        scores=_to_json(scores),
        plan=None if plan is None else str(plan),
        seed=seed,
        started=started.astimezone(UTC).isoformat(timespec="seconds"),
        wall_seconds=round(wall_seconds, 3),
        data={role: fingerprint(path) for role, path in data_files.items()},
        versions=installed_versions(),
        commit=git_commit(),
        peak_memory_bytes=peak_memory(),
        machine=machine_facts(),
        folder=Path(folder),
    )
    stored = {"schema_version": run.schema_version, **asdict(run)}
    del stored["folder"]
    write_whole(RunFolder(Path(folder)).run, [json.dumps(stored, indent=2, ensure_ascii=False), "\n"])
    return run


def read_run(folder: str | Path) -> Run:
    """Read the `run.json` of a run folder.

    Args:
        folder: the folder, or the path of its run.json.

    Raises:
        DataError: when it is missing, is not JSON, lacks a key, or has a newer schema version.
    """
    path = Path(folder)
    path = path if path.name == RUN_FILE else RunFolder(path).run
    stored = _read_object(path)
    version = stored.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema_version is {version!r}; this version of lookboth reads {SCHEMA_VERSION}. "
            "Update lookboth, or write the run again with `lookboth evaluate`."
        )
    names = [name for name in Run.__dataclass_fields__ if name != "folder"]
    missing = [name for name in names if name not in stored]
    if missing:
        raise DataError(
            f"{path}: missing keys: {', '.join(missing)}; write the run again with `lookboth evaluate`."
        )
    for name in ("config", "scores", "data"):
        if not isinstance(stored[name], dict):
            raise DataError(f"{path}: {name} is {type(stored[name]).__name__}; it must be an object.")
    return Run(**{name: stored[name] for name in names}, folder=path.parent)


def write_predictions(
    folder: str | Path,
    examples: Iterable[Example],
    predicted: Iterable[Sequence[AnySpan]],
    *,
    splits: Iterable[str] | None = None,
) -> Path:
    """Write `predictions.jsonl`: one line per sentence with its words, gold spans and predicted spans with scores.

    A label of a whole text is written as a span over all its words.

    Args:
        folder: created if missing.
        examples: the scored examples, in order.
        predicted: the predicted spans of each example; spans without a score are written without one.
        splits: for each example the name of its scores in run.json, such as "dev" or "test:wnut17".

    Raises:
        DataError: the numbers of examples and predictions differ; nothing is written then.
    """
    path = RunFolder(Path(folder)).predictions
    write_whole(path, _prediction_lines(examples, predicted, splits))
    return path


def has_predictions(folder: str | Path) -> bool:
    """Return whether a run folder holds `predictions.jsonl` or `predictions.jsonl.gz`."""
    return any(path.is_file() for path in _prediction_files(folder))


def read_predictions(folder: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the sentences of `predictions.jsonl`: words, gold and predicted spans, source, and split if recorded.

    `predictions.jsonl.gz` is read if the plain file does not exist.

    Args:
        folder: the run folder.

    Raises:
        DataError: when the file is missing or damaged, or a line is not a JSON object; the message names the line.
    """
    plain, packed = _prediction_files(folder)
    path = packed if packed.is_file() and not plain.is_file() else plain
    opened = gzip.open if path == packed else open
    try:
        with opened(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield _parse_object(line, f"{path}:{number}")
    # A damaged gzip file raises any of the three.
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}); `lookboth evaluate` writes it.") from error


def _prediction_files(folder: str | Path) -> tuple[Path, Path]:
    run = RunFolder(Path(folder))
    return run.predictions, run.packed_predictions


def _prediction_lines(
    examples: Iterable[Example], predicted: Iterable[Sequence[AnySpan]], splits: Iterable[str] | None
) -> Iterator[str]:
    names = None if splits is None else iter(splits)
    # Not zip(strict=True): the error names the first example without a partner.
    for index, (example, spans) in enumerate(zip_longest(examples, predicted)):
        if example is None or spans is None:
            more = "predictions than examples" if example is None else "examples than predictions"
            raise DataError(f"more {more}, from number {index} on; give one prediction per example.")
        record: dict[str, Any] = {
            "words": example.words,
            "gold": [span._asdict() for span in example.labeled_spans()],
            "predicted": [_span_record(span) for span in spans],
            "source": portable(example.source) if example.source else "",
        }
        if names is not None:
            record["split"] = next(names, None)
            if record["split"] is None:
                raise DataError(f"no split for example {index}; give one per example.")
        yield json.dumps(record, ensure_ascii=False) + "\n"


def _span_record(span: AnySpan) -> dict[str, Any]:
    record: dict[str, Any] = {"start": span.start, "end": span.end, "label": span.label}
    if isinstance(span, PredictedSpan):
        record["score"] = round(span.score, 4)
    return record


def _to_json(value: Any) -> Any:
    """Convert a value to JSON types: paths and plans to strings, NaN and infinity to null."""
    if hasattr(value, "to_dict"):
        return _to_json(value.to_dict())
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _to_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _to_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, float):
        # NaN and infinity are not JSON, and strict parsers refuse the whole file.
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | bool | int) else str(value)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name a run folder.") from error
    return _parse_object(content, str(path))


def _parse_object(content: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 ({error.reason}); write the run again.") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: not JSON ({error}); the file was truncated or edited. Write the run again."
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: found a JSON {type(value).__name__}; it must be an object.")
    return value
