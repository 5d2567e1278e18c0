"""Spans of a sentence, made up by hypothesis."""

from hypothesis import strategies as st

from lookboth.types import Span


@st.composite
def sentence_spans(draw):
    """Spans that do not overlap, as gold data and a labeler give them."""
    borders = sorted(draw(st.sets(st.integers(0, 12), max_size=8)))
    labels = st.sampled_from(["PER", "LOC"])
    pairs = zip(borders[::2], borders[1::2], strict=False)
    return [Span(start, end, draw(labels)) for start, end in pairs]
