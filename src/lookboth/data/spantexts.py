"""Conversion of texts with character spans to sentences of words with word spans."""

from collections.abc import Iterable, Sequence
from typing import Any

from lookboth.data.charspans import (
    CharSpan,
    parse_char_spans,
    places_without_text,
    settle_labels,
    spans_over_words,
)
from lookboth.data.counting import Counting, differing_readings
from lookboth.data.problems import ProblemLog
from lookboth.data.sentences import Sentence, check_string
from lookboth.data.splitters import cut_at, is_unsplit, split_read_text


def text_sentence(
    text: str,
    spans: Any,
    number: int,
    log: ProblemLog,
    *,
    tokens: Any = None,
    several: str | None = None,
    counting: Counting | None = None,
) -> Sentence:
    """Return a text with the spans of a record as a sentence of words.

    Args:
        text: the text as in the file.
        spans: a list of records as in `parse_char_spans`, not yet checked; duplicates count once.
        number: line or number of the record.
        log, tokens, several: as in `sentence_over`.
        counting: as in `parse_char_spans`.
    """
    text = check_string(text, number, log)
    found = parse_char_spans(spans, text, number, log, counting)
    if counting is None:
        _doubt_offsets(places_without_text(spans), text, number, log)
    return sentence_over(text, found, number, log, tokens=tokens, several=several)


def sentence_over(
    text: str,
    spans: Iterable[CharSpan],
    number: int,
    log: ProblemLog,
    *,
    tokens: Any = None,
    several: str | None = None,
) -> Sentence:
    """Return a text with spans in code points as a sentence of words.

    Args:
        text: without lone surrogates.
        spans: in file order; duplicates count once.
        number: line or number of the record.
        log: receives the problems.
        tokens: the record's own words: strings in text order, or objects with "start" and "end" (spaCy, Prodigy);
            None: the words of the splitter that is active (`splitters.split_with`).
        several: how ranges with several labels are resolved, as in `settle_labels`.
    """
    offsets = own_offsets(tokens, text, number, log) if tokens is not None else None
    if offsets is None:
        offsets = tuple(split_read_text(text))
        _note_unsplit(text, number, log)
    found = settle_labels(spans, several)
    offsets = _cut(offsets, found, text, number, log)
    words = tuple(text[start:end] for start, end in offsets)
    return Sentence(
        words, (number,), None, spans_over_words(found, text, offsets, number, log), text, offsets
    )


def _cut(
    offsets: tuple[tuple[int, int], ...],
    spans: Sequence[CharSpan],
    text: str,
    number: int,
    log: ProblemLog,
) -> tuple[tuple[int, int], ...]:
    """Return the words, cut at the borders of spans if the user asks for it; log each cut."""
    borders = {border: span for span in spans for border in (span.start, span.end)}
    cut = cut_at(offsets, borders)
    whole = dict(offsets)
    for start, end in cut:
        # A cut word is logged once, at its first piece.
        if whole.get(start, end) != end:
            word, span = text[start : whole[start]], borders[end].quote(text)
            message = f"{span} cuts {word!r:.60}, which stays one word in prediction"
            log.add(number, "cut-word", message, fatal=False)
    return tuple(cut)


def _note_unsplit(text: str, number: int, log: ProblemLog) -> None:
    """Log once per file that a text has a script without blanks and no splitter was named."""
    if is_unsplit(text):
        found = (
            f"{text[:40]!r} has letters of Thai, Lao, Khmer or Burmese, which have no blanks between words"
        )
        log.add_once(number, "splitter", f"{found}; name a splitter: --splitter pythainlp, spacy:th or char")


def _doubt_offsets(places: list[tuple[int, int]], text: str, number: int, log: ProblemLog) -> None:
    """Log spans that are whole words in UTF-16 units but not in code points; a repair must not widen them."""
    readings = [found for _, found in differing_readings(text, places)]
    hits = {name: sum(found[name].fits for found in readings) for name in ("utf16", "codepoints")}
    # Fatal and without a repair: widened to whole words, these spans would be silently wrong.
    if hits["utf16"] > hits["codepoints"]:
        share = f"{hits['utf16']} of {len(readings)} spans after an emoji are whole words"
        found = f"{share} if offsets count UTF-16 units, {hits['codepoints']} if code points"
        advice = "lookboth convert reads them with --offsets utf16 (or --offsets codepoints)"
        log.add(number, "offsets", f"{found}; {advice}")


def own_offsets(tokens: Any, text: str, number: int, log: ProblemLog) -> tuple[tuple[int, int], ...] | None:
    """Return the offsets of the record's own tokens in the text; log a problem and return None if they do not fit.

    Tokens that consist of white space (spaCy has them) are not words.

    Args:
        tokens: strings, or objects with "start" and "end" or with "text".
        text: the text.
        number: line or number of the record.
        log: receives the problem.
    """
    reason = "" if isinstance(tokens, list) else f"the tokens {tokens!r:.60} are not a list"
    places: list[tuple[int, int]] = []
    position = 0
    for token in tokens if not reason else ():
        place = _place(token, text, position)
        if place is None:
            reason = (
                f"the token {token!r:.80} is not in the text at {position}, where the token before it ends"
            )
            break
        places.append(place)
        position = place[1]
    if not reason and text[position:].strip():
        reason = f"the tokens end before {text[position:].strip()!r:.60}"
    if reason:
        log.add(number, "tokens", reason, "the tokens are ignored and the text is split into words")
        return None
    return tuple(place for place in places if text[place[0] : place[1]].strip())


def _place(token: Any, text: str, position: int) -> tuple[int, int] | None:
    """Return the offsets of the next token at or after a position, or None."""
    said = token.get("text") if isinstance(token, dict) else token
    if isinstance(token, dict) and "start" in token and "end" in token:
        start, end = token["start"], token["end"]
        whole = type(start) is int and type(end) is int and position <= start < end <= len(text)
    else:
        start = text.find(said, position) if isinstance(said, str) and said else -1
        whole, end = start >= 0, start + len(str(said))
    # Between two tokens only white space is allowed; other text would be lost.
    if not whole or text[position:start].strip():
        return None
    return (start, end) if said in (None, text[start:end]) else None
