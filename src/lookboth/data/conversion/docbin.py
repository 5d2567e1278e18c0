"""Reader of spaCy's binary data (`.spacy`, DocBin): words and entities of each document."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookboth.data import CharSpan, ProblemLog, Sentence, build_dataset, read_bytes, sentence_over
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.errors import ConfigError, DataError

if TYPE_CHECKING:
    from spacy.tokens import Doc

SUFFIX = ".spacy"
_ENTS = "ents"


def read_docbin(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the entities of each document; its tokens are the words.

    If no document has entities, the only group in `doc.spans` is read; other groups are logged with their numbers of
    spans. Documents without any annotation of entities are left out and logged.

    Args:
        path: the file.
        options: `several`, and `label_field`: a group of `doc.spans`, or "ents".
        repair: leave out spans that overlap longer ones instead of reporting them as fatal.

    Raises:
        ConfigError: if spaCy is not installed.
        DataError: if the file cannot be read, or has no such group.
    """
    log = ProblemLog(str(path), repair=repair, unit="document ")
    docs = _docs(path)
    group = _choose(docs, options.label_field, log)
    if group is None:
        return Converted(build_dataset([], "IOB2", log))
    sentences = [_sentence(doc, group, number, options.several, log) for number, doc in enumerate(docs, 1)]
    return Converted(build_dataset([s for s in sentences if s is not None], "IOB2", log))


def _docs(path: str | Path) -> "list[Doc]":
    try:
        from spacy.tokens import DocBin
        from spacy.vocab import Vocab
    except ImportError:
        raise ConfigError(f"{path}: needs spaCy. Install it: pip install 'lookboth[spacy]'.") from None
    content = read_bytes(path)
    try:
        return list(DocBin().from_bytes(content).get_docs(Vocab()))
    # Damaged files raise errors of zlib, msgpack, numpy and spaCy.
    except Exception as error:
        raise DataError(f"{path}: not a DocBin of spaCy 3: {error!s:.200}. Export it again.") from error


def _choose(docs: "Sequence[Doc]", named: str | None, log: ProblemLog) -> str | None:
    """Return the group of spans to read; log the others, or that the user must choose, and then return None."""
    counts: Counter[str] = Counter({_ENTS: sum(len(doc.ents) for doc in docs)})
    for doc in docs:
        for name, spans in doc.spans.items():
            counts[name] += len(spans)
    if named is not None and named not in counts:
        raise DataError(f"{log.name}: no spans {named!r}; there are {', '.join(counts)}.")
    filled = [name for name, count in counts.items() if count]
    counted = ", ".join(f"{name} ({counts[name]:,} spans)" for name in filled)
    if named is None and _ENTS not in filled and len(filled) > 1:
        log.add(1, "fields", f"several groups of doc.spans: {counted}; name one: --label-field {filled[0]}")
        return None
    chosen = named or (_ENTS if _ENTS in filled or not filled else filled[0])
    others = [f"{name!r} ({counts[name]:,})" for name in filled if name != chosen]
    if others:
        message = f"{chosen!r} is read; not converted are the spans of {', '.join(others)}; see --label-field"
        log.add(1, "other-results", message, fatal=False)
    return chosen


def _sentence(doc: "Doc", group: str, number: int, several: str | None, log: ProblemLog) -> Sentence | None:
    spans: Sequence[Any] = doc.ents if group == _ENTS else doc.spans.get(group, ())
    if not spans and not doc.has_annotation("ENT_IOB") and group == _ENTS:
        log.add(number, "not-annotated", "the document is not annotated; it is left out", fatal=False)
        return None
    tokens = [{"start": token.idx, "end": token.idx + len(token)} for token in doc]
    found = [CharSpan(span.start_char, span.end_char, span.label_) for span in spans]
    return sentence_over(doc.text, found, number, log, tokens=tokens, several=several)
