"""Encoding of labeled and invalid rows as Parquet or JSON lines."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from lookboth.bulk.rows import Row
from lookboth.types import Prediction

_SPAN = (
    pa.field("start", pa.int64(), nullable=False),
    pa.field("end", pa.int64(), nullable=False),
    pa.field("label", pa.string(), nullable=False),
    pa.field("score", pa.float32(), nullable=False),
)
# Of runs with named labelers.
_MODEL = pa.field("model", pa.string(), nullable=False)

# A row with the prediction of each labeler by name; the name of an only one may be "".
Labeled = tuple[Row, Mapping[str, Prediction]]


def encode_json_lines(source: str, labeled: Iterable[Labeled]) -> bytes:
    """Return one JSON object per row: source, row, the kept columns, spans.

    Args:
        source: name of the input file.
        labeled: rows with their predictions.
    """
    return _json_lines(
        {"source": source, "row": row.number, **row.kept, "spans": _spans(found)} for row, found in labeled
    )


def encode_parquet(
    source: str,
    labeled: Sequence[Labeled],
    kept: Mapping[str, pa.Array | pa.ChunkedArray],
    *,
    named: bool = False,
) -> bytes:
    """Return a Parquet file with the columns source, row, the kept ones, spans.

    Args:
        source: name of the input file.
        labeled: rows with their predictions.
        kept: the kept columns of these rows.
        named: whether the labelers have names, which are written into the spans.
    """
    span = pa.struct([*_SPAN, _MODEL] if named else _SPAN)
    spans = pa.list_(pa.field("element", span, nullable=False))
    columns = {
        "source": pa.array([source] * len(labeled), pa.string()),
        "row": pa.array([row.number for row, _ in labeled], pa.int64()),
        **kept,
        "spans": pa.array([_spans(found) for _, found in labeled], spans),
    }
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def as_strings(values: Iterable[Any]) -> pa.Array:
    """Return JSON values as one column of strings; values other than strings and null are written as JSON.

    >>> as_strings(["a", None, [1]]).to_pylist()
    ['a', None, '[1]']
    """
    return pa.array([v if v is None or isinstance(v, str) else _json(v) for v in values], pa.string())


def encode_bad(source: str, rows: Sequence[Row]) -> bytes:
    """Return one JSON object per invalid row: its position, the reason and the kept columns."""
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


def _spans(found: Mapping[str, Prediction]) -> list[dict[str, Any]]:
    """Return the spans of all labelers, one labeler after the other, each with the name of its labeler."""
    return [
        {"start": span.start_char, "end": span.end_char, "label": span.label, "score": round(span.score, 4)}
        | ({"model": name} if name else {})
        for name, prediction in found.items()
        for span in prediction.labeled_spans()
    ]


def _json_lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    lines = (_json(record, ensure_ascii=False) + "\n" for record in records)
    # Kept values may have lone surrogates, which UTF-8 cannot encode; they become escapes.
    return "".join(lines).encode("utf-8", "backslashreplace")


def _json(value: Any, *, ensure_ascii: bool = True) -> str:
    """Return a value as JSON, with null for NaN and infinite numbers."""
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii, default=_as_text, allow_nan=False)
    except ValueError:
        # JSON has neither NaN nor infinity. The parser calls `parse_constant` for exactly these.
        finite = json.loads(json.dumps(value, default=_as_text), parse_constant=lambda _: None)
        return json.dumps(finite, ensure_ascii=ensure_ascii)


def _as_text(value: Any) -> str:
    """Return a value that JSON cannot represent as text: bytes as base64, dates and decimals as `str` writes them."""
    return b64encode(value).decode() if isinstance(value, bytes) else str(value)
