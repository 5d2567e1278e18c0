"""Tag schemes: encoding of word spans as one tag per word, and decoding (pure Python)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from lookboth.errors import ConfigError, DataError
from lookboth.types import Span

OUTSIDE = "O"
SCHEMES = ("IOB1", "IOB2", "IOBES", "BILOU", "IO", "plain")

_PREFIXES = {"IOB1": "BI", "IOB2": "BI", "IOBES": "BIES", "BILOU": "BILU"}
# Schemes whose tags are bare labels.
_WITHOUT_POSITION = ("IO", "plain")
_ALIASES = {
    **dict.fromkeys(("BIO", "BIO2", "IOB"), "IOB2"),
    **dict.fromkeys(("BIOES", "BMES", "BMEWO", "BMEOW"), "IOBES"),  # M and W: see tag_styles
    **dict.fromkeys(("BILUO", "BIOUL"), "BILOU"),
}
# Decoding works on one spelling: begin, inside, end, single.
_FOLD = {"B": "B", "I": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
# Distinct tags or pairs of tags; a file with more reads a little slower.
_TAGS_KEPT = 4096


def resolve_scheme(name: str) -> str:
    """Return the scheme of this name, ignoring case; aliases such as BIO are accepted.

    Raises:
        ConfigError: if the name is unknown.

    >>> resolve_scheme("bio"), resolve_scheme("BIOES"), resolve_scheme("plain")
    ('IOB2', 'IOBES', 'plain')
    """
    upper = name.upper()
    for scheme in SCHEMES:
        if scheme.upper() == upper:
            return scheme
    if upper in _ALIASES:
        return _ALIASES[upper]
    allowed = ", ".join((*SCHEMES, *sorted(_ALIASES)))
    raise ConfigError(
        f"unknown tag scheme {name!r}; schemes are: {allowed}. Pass one, or leave it out to detect it."
    )


def parse_tag(tag: str) -> tuple[str, str]:
    """Split a tag at its first '-' into (prefix, label); a tag without '-' is all prefix.

    >>> parse_tag("B-creative-work"), parse_tag("O"), parse_tag("NOUN")
    (('B', 'creative-work'), ('O', ''), ('NOUN', ''))
    """
    prefix, _, label = tag.partition("-")
    return prefix, label


def label_of(tag: str, scheme: str) -> str:
    """Return the label of a tag in the canonical spelling of `tags_for_labels`, "O" for no label.

    >>> label_of("B-PER", "IOB2"), label_of("NOUN-X", "plain"), label_of("O", "IOBES")
    ('PER', 'NOUN-X', 'O')
    """
    return tag if scheme in _WITHOUT_POSITION or tag == OUTSIDE else tag.partition("-")[2]


def decode_tags(tags: Sequence[str], scheme: str, *, repair: bool = False) -> tuple[Span, ...]:
    """Decode the tags of one sentence to spans.

    Ill-formed tags never raise an error. By default they do not belong to any span, as in seqeval's strict mode
    (`find_tag_errors` lists them). With `repair` they are decoded as in conlleval: an inside or end tag without a
    beginning starts a span, and a span without an end tag ends with its last word. A tag with an unknown prefix is
    outside in both modes.

    Args:
        tags: one tag per word.
        scheme: one of `SCHEMES`.
        repair: decode ill-formed tags instead of ignoring them.

    >>> decode_tags(["B-PER", "I-PER", "O", "I-LOC"], "IOB2")
    (Span(start=0, end=2, label='PER'),)
    >>> decode_tags(["B-PER", "I-PER", "O", "I-LOC"], "IOB2", repair=True)
    (Span(start=0, end=2, label='PER'), Span(start=3, end=4, label='LOC'))
    >>> decode_tags(["DET", "NOUN"], "plain")
    (Span(start=0, end=1, label='DET'), Span(start=1, end=2, label='NOUN'))
    >>> decode_tags(["LOC", "LOC", "PER"], "IO")
    (Span(start=0, end=2, label='LOC'), Span(start=2, end=3, label='PER'))
    """
    if scheme == "plain":
        return tuple(Span(i, i + 1, tag) for i, tag in enumerate(tags) if tag not in ("", OUTSIDE))
    if scheme == "IO":
        return _decode_repaired([("I", tag) if tag not in ("", OUTSIDE) else (OUTSIDE, "") for tag in tags])
    if repair:
        return _decode_repaired(_fold_tags(tags, "BIESLU"))
    folded = _fold_tags(tags, _PREFIXES[scheme])
    if scheme == "IOB1":
        folded = _begin_iob1_spans(folded)
    return _decode_strict(folded, needs_end=scheme in ("IOBES", "BILOU"))


def find_tag_errors(tags: Sequence[str], scheme: str) -> list[tuple[int, str]]:
    """Return (word index, message) for each ill-formed tag of one sentence, in order.

    >>> find_tag_errors(["O", "I-LOC"], "IOB2")
    [(1, "tag 'I-LOC' follows 'O'; IOB2 spans start with 'B-'")]
    """
    if scheme in _WITHOUT_POSITION:
        return [
            (i, f"the tag is empty; a tag of {scheme} is any text") for i, tag in enumerate(tags) if not tag
        ]
    errors: list[tuple[int, str]] = []
    # The last pair checks that no span is left open at the end of the sentence.
    for i, (previous, tag) in enumerate(pairwise((OUTSIDE, *tags, OUTSIDE))):
        left, here = _transition_errors(previous, tag, scheme)
        if left:
            errors.append((i - 1, left))
        if here:
            errors.append((i, here))
    return errors


def repair_tags(tags: Sequence[str], scheme: str) -> tuple[str, ...]:
    """Return well-formed tags for the spans that `decode_tags` finds with `repair`.

    >>> repair_tags(["O", "I-LOC", "I-PER"], "IOB2")
    ('O', 'B-LOC', 'B-PER')
    """
    return encode_spans(decode_tags(tags, scheme, repair=True), len(tags), scheme)


def encode_spans(spans: Iterable[Span], num_words: int, scheme: str) -> tuple[str, ...]:
    """Encode spans as one tag per word.

    Args:
        spans: in any order, not overlapping, each within the words; one word long for "plain".
        num_words: number of words of the sentence.
        scheme: one of `SCHEMES`.

    Raises:
        DataError: if a span is empty, has no label, exceeds the sentence or overlaps another.

    >>> encode_spans([Span(1, 3, "PER"), Span(0, 1, "LOC")], 4, "IOBES")
    ('S-LOC', 'B-PER', 'E-PER', 'O')
    """
    tags = [OUTSIDE] * num_words
    before = Span(0, 0, "")
    for span in sorted(spans):
        _check_span(span, before, num_words, scheme)
        tags[span.start : span.end] = _tags_of_span(span, before, scheme)
        before = span
    return tuple(tags)


def tags_for_labels(labels: Iterable[str], scheme: str) -> tuple[str, ...]:
    """Return all tags of the scheme for these labels: "O" first, then sorted by label.

    >>> tags_for_labels(["PER", "LOC"], "IOB2")
    ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
    """
    names = sorted(set(labels))
    if scheme in _WITHOUT_POSITION:
        return (OUTSIDE, *(name for name in names if name != OUTSIDE))
    return (OUTSIDE, *(f"{prefix}-{name}" for name in names for prefix in _PREFIXES[scheme]))


def detect_scheme(tag_sequences: Iterable[Sequence[str]]) -> str:
    """Return the scheme with the fewest ill-formed tags (`B-PER`); IOB2 if several fit equally well.

    >>> detect_scheme([["I-PER", "I-PER", "B-PER"]]), detect_scheme([["B-PER", "E-PER", "O"]])
    ('IOB1', 'IOBES')
    """
    transitions: Counter[tuple[str, str]] = Counter()
    for sequence in tag_sequences:
        transitions.update(pairwise((OUTSIDE, *sequence, OUTSIDE)))

    def num_errors(scheme: str) -> int:
        per_transition = ((_transition_errors(*pair, scheme), count) for pair, count in transitions.items())
        return sum(count * sum(map(bool, messages)) for messages, count in per_transition)

    return min(("IOB2", "IOB1", "IOBES", "BILOU"), key=num_errors)


# A file has few tags, each of them many times.
@lru_cache(maxsize=_TAGS_KEPT)
def _fold(tag: str, prefixes: str) -> tuple[str, str]:
    """Return (B|I|E|S, label), or ("O", "") if the prefix is not allowed or the label is missing."""
    prefix, label = parse_tag(tag)
    if len(prefix) == 1 and prefix in prefixes and label:
        return _FOLD[prefix], label
    return OUTSIDE, ""


def _fold_tags(tags: Sequence[str], prefixes: str) -> list[tuple[str, str]]:
    return [_fold(tag, prefixes) for tag in tags]


def _begin_iob1_spans(folded: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Rewrite IOB1 as IOB2; a 'B-' that does not follow its own label is ill-formed and becomes "O"."""
    result = []
    # `previous` is the tag of the file, `written` its IOB2 form.
    written = previous = (OUTSIDE, "")
    for prefix, label in folded:
        if prefix == "I" and written[1] != label:
            written = ("B", label)
        elif prefix == "B" and previous[1] != label:
            written = (OUTSIDE, "")
        else:
            written = (prefix, label)
        previous = (prefix, label)
        result.append(written)
    return result


def _decode_strict(folded: list[tuple[str, str]], *, needs_end: bool) -> tuple[Span, ...]:
    spans = []
    start, label = -1, ""
    for i, (prefix, name) in enumerate([*folded, (OUTSIDE, "")]):
        continues = start >= 0 and name == label and prefix in "IE"
        if continues and prefix == "I":
            continue
        if continues:
            spans.append(Span(start, i + 1, label))
        elif start >= 0 and not needs_end:
            spans.append(Span(start, i, label))
        # An inside or end tag that continues nothing is ill-formed and is skipped.
        start = -1
        if prefix == "B":
            start, label = i, name
        elif prefix == "S":
            spans.append(Span(i, i + 1, name))
    return tuple(spans)


def _decode_repaired(folded: list[tuple[str, str]]) -> tuple[Span, ...]:
    spans = []
    # The empty tag added to the end closes a span that reaches it.
    start, before, label = 0, OUTSIDE, ""
    for i, (prefix, name) in enumerate([*folded, (OUTSIDE, "")]):
        if name and name == label and prefix in "IE" and before in "BI":
            before = prefix
            continue
        if label:
            spans.append(Span(start, i, label))
        start, before, label = i, prefix, name
    return tuple(spans)


@lru_cache(maxsize=_TAGS_KEPT)
def _transition_errors(previous: str, tag: str, scheme: str) -> tuple[str, str]:
    """Return the error of the previous tag given this one, and the error of this tag; "" for no error."""
    prefixes = _PREFIXES[scheme]
    prefix, label = _fold(tag, prefixes)
    prefix_before, label_before = _fold(previous, prefixes)
    continues = bool(label) and label == label_before
    here = ""
    if not label and tag != OUTSIDE:
        here = _unknown_tag(tag, scheme)
    elif scheme == "IOB1" and prefix == "B" and not continues:
        here = f"tag {tag!r} follows {previous!r}; IOB1 writes 'B-' only after the same label"
    elif scheme != "IOB1" and prefix in "IE" and not (continues and prefix_before in "BI"):
        here = f"tag {tag!r} follows {previous!r}; {scheme} spans start with {_starts(scheme)}"
    # Only schemes with four letters (IOBES, BILOU) mark the ends of spans.
    left_open = len(prefixes) == 4 and prefix_before in "BI" and not (continues and prefix in "IE")
    return (_never_ended(previous, tag, scheme) if left_open else ""), here


def _starts(scheme: str) -> str:
    return "'B-'" if scheme == "IOB2" else f"'B-' or '{_PREFIXES[scheme][3]}-'"


def _never_ended(previous: str, tag: str, scheme: str) -> str:
    end = f"{_PREFIXES[scheme][2]}-{parse_tag(previous)[1]}"
    return (
        f"tag {previous!r} is followed by {tag!r} or the sentence end; {scheme} ends this span with '{end}'"
    )


def _unknown_tag(tag: str, scheme: str) -> str:
    allowed = ", ".join(f"'{prefix}-LABEL'" for prefix in _PREFIXES[scheme])
    return f"tag {tag!r} is not a valid {scheme} tag; allowed are 'O', {allowed}"


def _check_span(span: Span, before: Span, num_words: int, scheme: str) -> None:
    length = span.end - span.start
    if not 0 <= span.start < span.end <= num_words:
        raise DataError(f"{span} does not lie within the {num_words} words; 0 <= start < end <= words.")
    if not span.label or (scheme in _WITHOUT_POSITION and span.label == OUTSIDE):
        raise DataError(
            f"{span} has a label that no tag can carry; use a label other than '' (and 'O' in plain tags)."
        )
    if span.start < before.end:
        raise DataError(
            f"{span} overlaps {before}; a word has one tag. Keep one of the two spans, "
            "or train with head.kind = 'nested'."
        )
    if scheme == "plain" and length != 1:
        raise DataError(f"{span} is {length} words long; plain tags label single words. Use IOB2.")
    if scheme == "IO" and (span.start, span.label) == (before.end, before.label):
        raise DataError(f"{span} touches {before}; IO tags cannot separate them. Use IOB2.")


def _tags_of_span(span: Span, before: Span, scheme: str) -> list[str]:
    label, length = span.label, span.end - span.start
    if scheme in _WITHOUT_POSITION:
        return [label] * length
    inside = ["I-" + label] * (length - 1)
    if scheme == "IOB1":
        touches = before.end == span.start and before.label == label
        return ["B-" + label if touches else "I-" + label, *inside]
    if scheme == "IOB2":
        return ["B-" + label, *inside]
    end, single = _PREFIXES[scheme][2], _PREFIXES[scheme][3]
    return ["B-" + label, *inside[1:], f"{end}-{label}"] if length > 1 else [f"{single}-{label}"]
