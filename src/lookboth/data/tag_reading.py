"""Choice of the scheme and the spelling of a file's tags, or the question to the user."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lookboth.data.nesting import ONE_LABEL
from lookboth.data.schemes import OUTSIDE, detect_scheme, resolve_scheme
from lookboth.data.tag_styles import (
    SIGNS,
    Refusal,
    TagStyle,
    features_of,
    find_style,
    is_standard,
    joins_tags,
    only_signs,
    standard_style,
)


@dataclass(frozen=True, slots=True)
class TagReading:
    """Scheme and style with which the tags of a file are decoded."""

    scheme: str
    style: TagStyle


def choose_reading(
    sentences: Sequence[Sequence[str]], scheme: str | None, head: str | None = None
) -> TagReading | Refusal:
    """Return the scheme and the style of a file's tags, or the reason why the user must choose.

    Args:
        sentences: the tags of each sentence.
        scheme: the scheme that the user named, or None to detect it.
        head: scheme of the head that will use the data, or None. With "plain", tags without positions are read as one
            label per word; other heads refuse such tags.

    Raises:
        ConfigError: if the scheme is unknown.

    >>> choose_reading([["B", "I", "O"]], None).style.read(["B", "I"])
    ('B-ENTITY', 'I-ENTITY')
    """
    named = resolve_scheme(scheme) if scheme else None
    tags = Counter(tag for sentence in sentences for tag in sentence)
    if named == "plain":
        return _plain(tags, head)
    joined = next(filter(joins_tags, tags), None)
    if joined is not None:
        return Refusal(joined, _several_in_a_cell(joined))
    style = _style_of_features(tags) if any(map(features_of, tags)) else find_style(tags)
    if isinstance(style, Refusal):
        return style if named in (None, "IO") else TagReading(str(named), standard_style(tags))
    if named == "IO":
        return _read_as_io(tags, style)
    if style.layout == "label":
        return TagReading(named, style) if named else _without_positions(tags, head)
    if named:
        # A named scheme decides where spans begin; IOE is only a guess.
        style = replace(style, ends=False)
    found = named or detect_scheme(style.read(sentence) for sentence in sentences)
    return TagReading(found, style)


def _plain(tags: Counter[str], head: str | None) -> TagReading | Refusal:
    if head in (None, "plain"):
        return TagReading("plain", TagStyle("label"))
    return Refusal(
        next(iter(tags), ""),
        f"the file is read with one label per word (scheme plain), but the labels are for {head} spans. To train "
        'one label per word, type --set scheme=plain (in a recipe: scheme = "plain"); if adjacent words of one '
        'label are one span, read the file with --scheme IO (in a recipe: data.scheme = "IO")',
    )


def _style_of_features(tags: Counter[str]) -> TagStyle | Refusal:
    """Return the style of the only feature whose values are tags with positions."""
    features = [(features_of(tag), count) for tag, count in tags.items()]
    found = []
    for key in sorted({key for each, _ in features for key in each}):
        values: Counter[str] = Counter()
        for each, count in features:
            values[each.get(key, OUTSIDE)] += count
        style = find_style(values)
        if isinstance(style, TagStyle) and style.layout != "label":
            found.append(replace(style, key=key))
    others = [tag for tag in tags if not features_of(tag) and tag not in SIGNS and tag != OUTSIDE]
    if len(found) == 1 and not others:
        return found[0]
    tag = next(filter(features_of, tags))
    return find_style(tags) if others else Refusal(tag, _features(tag))


def _features(tag: str) -> str:
    return (
        f"the cell {tag!r:.60} holds features, and none or several of them have tags such as B-PER as values. Name the "
        "column of the tags: --tag-column"
    )


def _read_as_io(tags: Counter[str], style: TagStyle) -> TagReading | Refusal:
    if style.layout == "label" or not set(tags) - style.outside:
        return TagReading("IO", style)
    # With I- tags alone, adjacent words of one label are one span, as in IOB1.
    if set(style.letters.values()) == {"I"}:
        return TagReading("IOB1", style)
    tag = next(tag for tag in tags if tag not in style.outside)
    return Refusal(tag, f"tag {tag!r} has a position, but IO tags have none. Leave --scheme out")


def _without_positions(tags: Counter[str], head: str | None) -> TagReading | Refusal:
    if head == "plain":
        return _plain(tags, head)
    labeled = [tag for tag, _ in tags.most_common() if tag != OUTSIDE]
    # Numbers and signs are another column, such as the heads of a dependency tree.
    if all(tag in SIGNS or tag.replace(".", "").isdigit() for tag in labeled):
        return Refusal(labeled[0], only_signs(tags))
    invalid = [tag for tag in labeled if not is_standard(tag)]
    return Refusal(invalid[0], _io_or_plain(invalid[:3]))


def _io_or_plain(tags: Sequence[str]) -> str:
    shown = ", ".join(f"{tag!r:.40}" for tag in tags)
    return (
        f"tags such as {shown} do not say where a span begins. If adjacent words of one label are one span, type "
        '--scheme IO (in a recipe: data.scheme = "IO"); if each word has a label of its own, as in part-of-speech '
        "tagging, type --scheme plain (to train: --set scheme=plain). If these are not tags, name their column: "
        "--tag-column"
    )


def _several_in_a_cell(tag: str) -> str:
    return (
        f"the cell {tag!r:.60} holds several tags, and {ONE_LABEL}. Or write each layer of tags into a column of its "
        "own and choose one with --tag-column"
    )
