"""Labeled and bad rows as the bytes of a Parquet file or of JSON lines."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from lookboth.bulk.rows import Row
from lookboth.types import Prediction

SPAN = pa.struct(
    [
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
    ]
)
SPANS = pa.list_(pa.field("element", SPAN, nullable=False))

Labeled = tuple[Row, Prediction]


def encode_json_lines(source: str, labeled: Iterable[Labeled]) -> bytes:
    """Return one JSON object a row: source, row, the kept columns, spans.

    Args:
        source: name of the input file.
        labeled: rows with what was found in them.
    """
    return _json_lines(
        {"source": source, "row": row.number, **row.kept, "spans": _spans(prediction)}
        for row, prediction in labeled
    )


def encode_parquet(source: str, labeled: Sequence[Labeled], kept: Mapping[str, pa.DataType]) -> bytes:
    """Return a Parquet file with the columns source, row, the kept ones, spans.

    Args:
        source: name of the input file.
        labeled: rows with what was found in them.
        kept: the type of each kept column.
    """
    columns = {
        "source": pa.array([source] * len(labeled), pa.string()),
        "row": pa.array([row.number for row, _ in labeled], pa.int64()),
        **{name: _kept([row.kept[name] for row, _ in labeled], kind) for name, kind in kept.items()},
        "spans": pa.array([_spans(prediction) for _, prediction in labeled], SPANS),
    }
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def encode_bad(source: str, rows: Sequence[Row]) -> bytes:
    """Return JSON lines that say what is wrong with each row, and where it is."""
    return _json_lines(
        {
            "source": source,
            "row": row.number,
            **({} if row.byte is None else {"byte": row.byte}),
            "reason": row.reason,
            "message": row.message,
            **row.kept,
        }
        for row in rows
    )


def _kept(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):  # JSON values of several types become one column: what is no string as JSON
        texts = (value is None or isinstance(value, str) for value in values)
        values = [value if is_text else _json(value) for value, is_text in zip(values, texts, strict=True)]
    return pa.array(values, kind)


def _spans(prediction: Prediction) -> list[dict[str, Any]]:
    return [
        {"start": span.start_char, "end": span.end_char, "label": span.label, "score": round(span.score, 4)}
        for span in prediction.labeled_spans()
    ]


def _json_lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    lines = (_json(record, ensure_ascii=False) + "\n" for record in records)
    return "".join(lines).encode("utf-8", "backslashreplace")


def _json(value: Any, *, ensure_ascii: bool = True) -> str:
    """Return a value as JSON, a number that is none or infinite as null."""
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii, default=_as_text, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(value, default=_as_text), parse_constant=lambda _: None)
        return json.dumps(finite, ensure_ascii=ensure_ascii)


def _as_text(value: Any) -> str:
    """Return what Parquet knows and JSON does not (bytes, dates, decimals) as text."""
    return b64encode(value).decode() if isinstance(value, bytes) else str(value)
