"""Sentences with tags or spans, as all readers produce them, and their conversion to examples."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lookboth.data.documents import join_documents
from lookboth.data.nesting import overlaps_kept
from lookboth.data.problems import ProblemLog
from lookboth.data.schemes import decode_tags, find_tag_errors, repair_tags
from lookboth.data.tag_layers import separate_tags
from lookboth.data.tag_reading import TagReading, choose_reading
from lookboth.data.tag_styles import Refusal
from lookboth.types import Dataset, Example, Span

_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence as read from a file.

    Args:
        words: the words.
        lines: the line of each word, or one line for all.
        tags: the tag of each word; None if the sentence has spans.
        spans: labeled spans over the words, if there are no tags.
        more_tags: further sequences of tags with spans that may overlap those of `tags`; for nested heads.
        text, offsets: as in `Example`.
        document: name or number of its document; None: a document of its own.
    """

    words: tuple[str, ...]
    lines: tuple[int, ...]
    tags: tuple[str, ...] | None = None
    spans: tuple[Span, ...] = ()
    text: str | None = None
    offsets: tuple[tuple[int, int], ...] = ()
    document: str | int | None = None
    more_tags: tuple[tuple[str, ...], ...] = ()

    @property
    def tag_sequences(self) -> tuple[tuple[str, ...], ...]:
        """All sequences of tags; none if the sentence has spans."""
        return () if self.tags is None else (self.tags, *self.more_tags)

    def line(self, word: int) -> int:
        """Return the line of a word."""
        return self.lines[min(word, len(self.lines) - 1)]


def build_dataset(
    sentences: Sequence[Sentence], scheme: str | None, log: ProblemLog, *, head: str | None = None
) -> Dataset:
    """Check words and tags, decode the tags, and return the data set with all problems of the log.

    Args:
        sentences: in file order.
        scheme: the tag scheme, or None to detect it from all sentences.
        log: problems found by the reader; ill-formed tags and words without visible characters are added.
        head: scheme of the head that will use the data; see `choose_reading`.
    """
    sentences = [_readable(sentence, log) for sentence in sentences]
    if overlaps_kept():
        sentences = [_with_layers(sentence) for sentence in sentences]
    tagged = [tags for sentence in sentences for tags in sentence.tag_sequences]
    # One reading for the whole file: a single sentence may have too few tags to decide it.
    reading = choose_reading(tagged, scheme, head)
    if isinstance(reading, Refusal):
        log.add(_first_line(sentences, reading.tag), "tag-style", reading.message)
        return Dataset((), problems=log.problems(), name=log.name)
    examples, documents = [], []
    for sentence in sentences:
        if sentence.words:
            examples.append(_build_example(sentence, reading, log))
            documents.append(sentence.document)
        else:
            log.add(
                sentence.line(0), "empty-sentence", "the sentence has no words; it is left out", fatal=False
            )
    examples = join_documents(examples, documents)
    return Dataset(examples=examples, scheme=reading.scheme, problems=log.problems(), name=log.name)


def _first_line(sentences: Sequence[Sentence], tag: str) -> int:
    """Return the line of the first occurrence of a tag."""
    return next(s.line(tags.index(tag)) for s in sentences for tags in s.tag_sequences if tag in tags)


def _with_layers(sentence: Sentence) -> Sentence:
    """Return the sentence with one sequence of tags for each layer of the tags that its cells hold."""
    layers = [layer for tags in sentence.tag_sequences for layer in separate_tags(tags)]
    return replace(sentence, tags=layers[0], more_tags=tuple(layers[1:])) if layers else sentence


def check_string(text: str, line: int, log: ProblemLog) -> str:
    """Replace lone surrogates, which no tokenizer accepts, by U+FFFD and log them."""
    if text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    log.add(line, "encoding", f"{text[:40]!a} holds half of a surrogate pair", "read as U+FFFD")
    return text.translate(_SURROGATES)


def _readable(sentence: Sentence, log: ProblemLog) -> Sentence:
    """Return the sentence with lone surrogates replaced and blanks around tags removed."""

    def checked(strings: tuple[str, ...]) -> tuple[str, ...]:
        # One test of a sentence instead of one per word.
        if "".join(strings).isascii():
            return strings
        return tuple(check_string(string, sentence.line(i), log) for i, string in enumerate(strings))

    return replace(
        sentence,
        words=checked(sentence.words),
        tags=None if sentence.tags is None else tuple(tag.strip() for tag in checked(sentence.tags)),
        more_tags=tuple(tuple(tag.strip() for tag in checked(tags)) for tags in sentence.more_tags),
        spans=tuple(
            span._replace(label=check_string(span.label, sentence.line(span.start), log))
            for span in sentence.spans
        ),
    )


def _build_example(sentence: Sentence, reading: TagReading, log: ProblemLog) -> Example:
    words = sentence.words
    for i, word in enumerate(words):
        # The cheap test comes first: it settles almost every word.
        if not word.isalnum() and all(map(_is_invisible, word)):
            message = f"the word {word!a} has no visible characters; it is kept"
            log.add(sentence.line(i), "invisible-word", message, fatal=False)
    return Example(
        words=words,
        spans=sentence.spans if sentence.tags is None else _decode_all(sentence, reading, log),
        text=sentence.text,
        offsets=sentence.offsets,
        source=log.where(sentence.line(0)),
    )


def _is_invisible(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) in ("Cc", "Cf")


def _decode_all(sentence: Sentence, reading: TagReading, log: ProblemLog) -> tuple[Span, ...]:
    found = [_decode(sentence, tags, reading, log) for tags in sentence.tag_sequences]
    return found[0] if len(found) == 1 else tuple(sorted({span for spans in found for span in spans}))


def _decode(
    sentence: Sentence, written: tuple[str, ...], reading: TagReading, log: ProblemLog
) -> tuple[Span, ...]:
    tags, scheme = reading.style.read(written), reading.scheme
    errors = find_tag_errors(tags, scheme)
    if not errors:
        return decode_tags(tags, scheme)
    repaired = repair_tags(tags, scheme)
    for i, message in errors:
        spelled = "" if tags[i] == written[i] else f"; the file spells it {written[i]!r}"
        log.add(sentence.line(i), "ill-formed-tag", message + spelled, f"read as {repaired[i]!r}")
    # Without a repair the problems are fatal, and the strict reading is what a report shows.
    return decode_tags(repaired if log.repair else tags, scheme)
