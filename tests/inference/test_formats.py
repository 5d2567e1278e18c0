"""Every format gives the text and the spans back, whatever characters they hold."""

import colorsys
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings, strategies as st

from lookboth.errors import ConfigError, DataError
from lookboth.inference.formats import FORMATS, render, write_predictions
from lookboth.inference.span_marks import Mark, mark_spans
from lookboth.types import PredictedSpan, Prediction, TextLabel

ADA = Prediction(
    "Ada  met Bob\r\nin Bonn.",
    ("Ada", "met", "Bob", "in", "Bonn", "."),
    ((0, 3), (5, 8), (9, 12), (14, 16), (17, 21), (21, 22)),
    ("B-PER", "O", "B-PER", "O", "B-LOC", "O"),
    (
        PredictedSpan(0, 1, "PER", "Ada", 0, 3, 0.981),
        PredictedSpan(2, 3, "PER", "Bob", 9, 12, 0.5),
        PredictedSpan(4, 5, "LOC", "Bonn", 17, 21, 1.0),
    ),
)
EMPTY = Prediction("", (), (), ())
GLAD = Prediction(
    "so <it> is", ("so", "it", "is"), ((0, 2), (4, 6), (8, 10)), (), (),
    (TextLabel("joy", 0.9), TextLabel("<fear>", 0.6)),
)  # fmt: skip

NASTY = st.sampled_from(
    ["<b>", "&amp;", '"', "'", "\r\n", "\r", "\u2028", "\x85", "😀", "e\u0301", "\x1b[31m", "]]>"]
)
PRINTABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@st.composite
def predictions(draw, characters=PRINTABLE):
    """A text of words and gaps with spans over some runs of words."""
    word = st.text(characters, min_size=1, max_size=6) | NASTY
    gaps = st.sampled_from(["", " ", "  ", "\n", "\r\n", "\t", "\u00a0"])
    text, words, offsets, spans = draw(gaps), [], [], []
    for _ in range(draw(st.integers(0, 6))):
        words.append(draw(word))
        offsets.append((len(text), len(text) + len(words[-1])))
        text += words[-1] + draw(gaps)
    tags, start = ["O"] * len(words), 0
    while start < len(words):
        end = draw(st.integers(start + 1, len(words)))
        if draw(st.booleans()):
            first, last = offsets[start][0], offsets[end - 1][1]
            label = draw(st.sampled_from(["PER", "creative-work", "<x>&\"'"]))
            score = draw(st.floats(0, 1))
            spans.append(PredictedSpan(start, end, label, text[first:last], first, last, score))
            tags[start:end] = ["B-" + label] + ["I-" + label] * (end - start - 1)
        start = end
    return Prediction(text, tuple(words), tuple(offsets), tuple(tags), tuple(spans))


class PageReader(HTMLParser):
    """Reads back texts and marks of a page; a browser reads it the same way."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.texts, self.marks, self.tags, self.in_text = [], [], [], False

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        if attributes.get("class") == "text":
            self.in_text = True
            self.texts.append("")
        elif tag == "mark" and self.in_text:
            start = len(self.texts[-1])
            self.marks.append(
                [len(self.texts) - 1, start, None, attributes["data-label"], attributes["title"]]
            )

    def handle_endtag(self, tag):
        if tag == "p":
            self.in_text = False
        elif tag == "mark" and self.in_text:
            self.marks[-1][2] = len(self.texts[-1])

    def handle_data(self, data):
        if self.in_text:
            self.texts[-1] += data


def read_page(found):
    reader = PageReader()
    # A browser reads line ends before anything else: a bare carriage return would be lost.
    reader.feed("".join(render(found, "html")).replace("\r\n", "\n").replace("\r", "\n"))
    reader.close()
    return reader


@settings(max_examples=150, deadline=None)
@given(found=st.lists(predictions(), max_size=3))
def test_html_without_its_tags_is_exactly_the_text(found):
    reader = read_page(found)
    assert reader.texts == [prediction.text for prediction in found]
    expected = [
        [index, span.start_char, span.end_char, span.label, f"{span.label} {span.score:.2f}"]
        for index, prediction in enumerate(found)
        for span in prediction.spans
    ]
    assert reader.marks == expected
    allowed = {"html", "head", "meta", "title", "style", "body", "main", "p", "mark", "footer", "ul", "li"}
    assert set(reader.tags) <= allowed


@settings(max_examples=150, deadline=None)
@given(found=predictions(st.characters(categories=["Cs", "L", "P"])))
def test_jsonl_is_one_line_and_its_offsets_slice_the_text(found):
    (line,) = render([found], "jsonl")
    line.encode("utf-8")
    assert line.splitlines() == [line[:-1]]
    stored = json.loads(line)
    # A high next to a low surrogate is one character to JSON; two lone ones in a row cannot be told from it.
    if re.search("[\ud800-\udbff][\udc00-\udfff]", found.text):
        return
    assert stored["text"] == found.text
    assert [stored["text"][s["start"] : s["end"]] for s in stored["spans"]] == [s.text for s in found.spans]
    assert [s["text"] for s in stored["spans"]] == [s.text for s in found.spans]


def test_jsonl_stays_readable_and_escapes_a_lone_surrogate_only():
    (line,) = render([Prediction("Müller \ud83d 😀", (), (), ())], "jsonl")
    assert line == '{"text": "Müller \\ud83d 😀", "spans": []}\n'
    assert json.loads(line)["text"] == "Müller \ud83d 😀"


@settings(max_examples=150, deadline=None)
@given(found=st.lists(predictions(st.characters(categories=["L", "N", "P", "S", "M"])), max_size=3))
def test_conll_gives_words_and_tags_back(found):
    found = [p for p in found if not any(re.search("[\\s\x1b]", word) for word in p.words)]
    content = "".join(render(found, "conll"))
    blocks = content.split("\n\n")[:-1] if found else []
    rows = [[tuple(line.split("\t")) for line in block.split("\n") if line] for block in blocks]
    expected = [list(zip(p.words, p.tags, strict=True)) for p in found if p.words]
    assert [row for row in rows if row] == expected


@pytest.mark.parametrize("word", ["", " ", "a\tb", "a\nb", "a\u2028b"])
def test_conll_refuses_words_that_a_line_cannot_hold(word):
    with pytest.raises(DataError, match=r"word 1 is .*Use the format 'jsonl'"):
        list(render([Prediction("x", ("ok", word), ((0, 1), (0, 1)), ("O", "O"))], "conll"))


@settings(max_examples=100, deadline=None)
@given(found=predictions())
def test_text_without_its_marks_is_the_text(found):
    (shown,) = render([found], "text")
    plain = found.text
    for span in reversed(found.spans):
        mark = f"[{span.text} {span.label} {span.score:.2f}]"
        plain = plain[: span.start_char] + mark + plain[span.end_char :]
    controls = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
    assert len(shown) == len(plain) + 1
    assert [a for a, b in zip(shown, plain, strict=False) if a != b and not re.match(controls, b)] == []
    assert not re.search(controls, shown)


def test_text_as_a_person_reads_it():
    assert list(render([ADA, EMPTY], "text")) == [
        "[Ada PER 0.98]  met [Bob PER 0.50]\r\nin [Bonn LOC 1.00].\n",
        "\n",
    ]


def test_color_marks_spans_and_one_label_keeps_its_color():
    (shown,) = render([ADA], "text", color=True)
    codes = re.findall("\x1b\\[(\\d+)m\\[", shown)
    assert codes[0] == codes[1] != codes[2]
    assert re.sub("\x1b\\[\\d+m", "", shown) == next(render([ADA], "text"))


def test_a_labeled_text_cannot_steer_the_terminal():
    (shown,) = render([Prediction("\x1b[2Jgone \x9b31m \x07", (), (), ())], "text")
    assert shown == "␛[2Jgone \ufffd31m ␇\n"


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_can_be_stored_as_utf8_and_renders_no_predictions(format):
    broken = Prediction("a\udc80b", ("a\udc80b",), ((0, 3),), ("O",))
    "".join(render([broken, EMPTY], format)).encode("utf-8")
    "".join(render([], format)).encode("utf-8")


@pytest.mark.parametrize("format", FORMATS)
def test_pieces_come_one_prediction_at_a_time(format):
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield ADA

    pieces = render(endless(), format)
    assert not asked
    for _ in range(3):
        assert next(pieces).endswith("\n")
    assert len(asked) <= 3


def test_unknown_format_is_refused_at_once():
    with pytest.raises(ConfigError, match="'xml'; allowed are: text, jsonl, conll, html"):
        render([], "xml")


@pytest.mark.parametrize("format", ["text", "html"])
def test_spans_outside_the_text_are_errors(format):
    extra = PredictedSpan(1, 2, "X", "", 20, 40, 0.5)
    prediction = Prediction(ADA.text, ADA.words, ADA.offsets, ADA.tags, (ADA.spans[0], extra))
    with pytest.raises(DataError, match="span X at characters"):
        list(render([prediction], format))


# "New York Times" with York in it twice, and a span that crosses its end.
CROSSED = Prediction(
    "New York Times & Co", (), (), (), (
        PredictedSpan(0, 3, "ORG", "New York Times", 0, 14, 0.9),
        PredictedSpan(1, 2, "LOC", "York", 4, 8, 0.8),
        PredictedSpan(1, 2, "GPE", "York", 4, 8, 0.7),
        PredictedSpan(2, 5, "FIRM", "Times & Co", 9, 19, 0.6),
    ),
)  # fmt: skip


def test_overlapping_spans_are_marked_inside_each_other_and_cut_where_they_cross():
    (line,) = render([CROSSED], "text")
    inner = "[[York LOC 0.80] GPE 0.70]"
    assert line == f"[New {inner} [Times… FIRM 0.60] ORG 0.90][… & Co FIRM 0.60]\n"
    (colored,) = render([CROSSED], "text", color=True)
    assert re.sub("\x1b[^m]*m", "", colored) == line
    assert colored.index("\x1b[36m[New") == 0


def test_a_page_marks_overlapping_spans_and_counts_each_once():
    page = "".join(render([CROSSED], "html"))
    marked = re.search(r"<p[^>]*>(.*)</p>", page)[1]
    assert re.sub(r"<mark[^>]*data-label=\"(\w+)\"[^>]*>", r"(\1 ", marked).replace("</mark>", ")") == (
        "(ORG New (GPE (LOC York)) (FIRM Times))(FIRM  &amp; Co)"
    )
    counts = re.findall(r"<li><mark[^>]*>(\w+)</mark> (\d+)</li>", page)
    assert counts == [("FIRM", "1"), ("GPE", "1"), ("LOC", "1"), ("ORG", "1")]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from("XY")), max_size=6),
    st.sampled_from(["text", "html"]),
)
def test_any_overlap_keeps_the_text(places, format):
    text = "abcdefghi"
    spans = tuple(
        PredictedSpan(0, 1, label, text[min(a, b) : max(a, b)], min(a, b), max(a, b), 0.5)
        for a, b, label in places
    )
    marked = list(mark_spans(Prediction(text, (), (), (), spans)))
    assert "".join(piece for piece in marked if isinstance(piece, str)) == text
    opened = []
    for piece in marked:
        if isinstance(piece, Mark) and piece.kind == "start":
            opened.append(piece.span)
        elif isinstance(piece, Mark):
            assert opened.pop() == piece.span
    assert not opened
    starts = [p.span for p in marked if isinstance(p, Mark) and p.kind == "start" and not p.is_cut]
    assert sorted(starts) == sorted(spans)
    assert "".join(render([Prediction(text, (), (), (), spans)], format))


def test_page_needs_no_other_file_and_counts_labels():
    page = "".join(render([ADA, ADA], "html"))
    assert not re.search(r"https?:|src=|<script|@import|url\(|<link", page)
    assert re.findall(r"<li><mark[^>]*>(\w+)</mark> (\d+)</li>", page) == [("LOC", "2"), ("PER", "4")]
    hues = dict(re.findall(r'--hue:(\d+)" data-label="(\w+)"', page))
    assert sorted(hues.values()) == ["LOC", "PER"]


def relative_luminance(red, green, blue):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_marks_are_readable_in_light_and_dark_mode_for_every_hue():
    """WCAG 2 asks for a contrast of 4.5 to 1."""
    page = "".join(render([], "html"))
    rules = re.findall(r"mark \{ color: #([0-9a-f]+); background: hsl\(var\(--hue\) (\d+)% (\d+)%\)", page)
    assert len(rules) == 2
    for color, saturation, lightness in rules:
        digits = color if len(color) == 6 else "".join(2 * digit for digit in color)
        ink = relative_luminance(*(int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)))
        for hue in range(360):
            rgb = colorsys.hls_to_rgb(hue / 360, int(lightness) / 100, int(saturation) / 100)
            low, high = sorted((ink, relative_luminance(*rgb)))
            assert (high + 0.05) / (low + 0.05) >= 4.5


def test_labels_of_whole_texts_stand_before_the_text():
    assert "".join(render([GLAD, GLAD.above(0.95)])) == "joy 0.90, <fear> 0.60\tso <it> is\n-\tso <it> is\n"


def test_labels_of_whole_texts_in_json():
    lines = [json.loads(line) for line in render([GLAD, GLAD.above(0.7), GLAD.above(0.95)], "jsonl")]
    assert [line["text"] for line in lines] == [GLAD.text] * 3
    labels = [[(label["label"], label["score"]) for label in line["labels"]] for line in lines]
    assert labels == [[("joy", 0.9), ("<fear>", 0.6)], [("joy", 0.9)], []]
    assert all(set(line) == {"text", "labels"} for line in lines)


def test_labels_of_whole_texts_on_a_page():
    page = "".join(render([GLAD], "html"))
    assert page.count('data-label="joy"') == page.count('data-label="&lt;fear&gt;"') == 1
    assert "so &lt;it&gt; is</p>" in page
    assert "&lt;fear&gt;</mark> 1</li>" in page


def test_a_conll_file_holds_no_labels_of_whole_texts():
    with pytest.raises(DataError, match=r"not a label of the whole text\. Use 'jsonl'"):
        list(render([GLAD], "conll"))


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_gets_what_would_be_printed(format, tmp_path):
    write_predictions([ADA, ADA], format, tmp_path / "new" / "out")
    assert (tmp_path / "new" / "out").read_bytes().decode() == "".join(render([ADA, ADA], format))


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    for format in ("jsonl", "prodigy"):
        with pytest.raises(DataError, match="cannot be written"):
            write_predictions([ADA], format, tmp_path)


def test_labels_stand_beside_their_words_in_every_script():
    """A mark is isolated from the text around it, and its label from its words, so that Hebrew does not move it."""
    page = "".join(render([], "html"))
    assert "mark { unicode-bidi: isolate; }" in page
    assert "mark::after { unicode-bidi: plaintext; }" in page
