from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings, strategies as st

from lookboth.data.conversion.convert_options import ConvertOptions
from lookboth.data.conversion.converting import convert
from lookboth.data.readers import read_dataset
from lookboth.errors import DataError

# Invented reviews in the form of SemEval-2014 task 4.
RESTAURANTS = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<sentences>
    <sentence id="1">
        <text>The lentil soup was cold, but our waiter's jokes &amp; the view were fine.</text>
        <aspectTerms>
            <aspectTerm term="lentil soup" polarity="negative" from="4" to="15"/>
            <aspectTerm term="waiter" polarity="positive" from="34" to="40"/>
            <aspectTerm term="view" polarity="positive" from="55" to="59"/>
        </aspectTerms>
        <aspectCategories><aspectCategory category="food" polarity="negative"/></aspectCategories>
    </sentence>
    <sentence id="2"><text>We came back.</text></sentence>
    <sentence id="3">
        <text>The bread is good and bad.</text>
        <aspectTerms><aspectTerm term="bread" polarity="conflict" from="4" to="9"/></aspectTerms>
    </sentence>
</sentences>
"""
# The form of 2015 and 2016.
REVIEWS = """<Reviews><Review rid="9"><sentences>
  <sentence id="9:0">
    <text>The ramen sings.</text>
    <Opinions>
      <Opinion target="ramen" category="FOOD#QUALITY" polarity="positive" from="4" to="9"/>
      <Opinion target="ramen" category="FOOD#PRICES" polarity="positive" from="4" to="9"/>
      <Opinion target="NULL" category="SERVICE#GENERAL" polarity="negative" from="0" to="0"/>
      <Opinion category="LAPTOP#GENERAL" polarity="negative"/>
    </Opinions>
  </sentence>
</sentences></Review></Reviews>
"""


def write(tmp_path, content, name="in.xml"):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


def labeled(path):
    dataset = read_dataset(path)
    return [[(" ".join(e.words[s.start : s.end]), s.label) for s in e.spans] for e in dataset.examples]


@pytest.mark.parametrize("suffix", [".conll", ".jsonl"])
@pytest.mark.parametrize(("polarities", "bread"), [(3, []), (4, [("bread", "conflict")]), (None, [])])
def test_terms_become_spans_of_words(tmp_path, suffix, polarities, bread):
    options = ConvertOptions(polarities=polarities)
    report = convert("semeval-absa", write(tmp_path, RESTAURANTS), tmp_path / f"out{suffix}", options)
    first = [("lentil soup", "negative"), ("waiter", "positive"), ("view", "positive")]
    assert labeled(tmp_path / f"out{suffix}") == [first, [], bread]
    dropped = [problem for problem in report.problems if problem.kind == "polarity"]
    assert [p.where for p in dropped] == ([] if bread else [f"{tmp_path}/in.xml:13"])
    assert report.ok


def test_opinions_of_later_years(tmp_path):
    report = convert("semeval-absa", write(tmp_path, REVIEWS), tmp_path / "out.conll")
    assert labeled(tmp_path / "out.conll") == [[("ramen", "positive")]]
    assert report.problems == ()


@pytest.mark.parametrize(
    ("term", "said"),
    [
        ('term="stew" polarity="negative" from="4" to="8"', r"is 'soup', not 'stew'"),
        ('term="soup" polarity="negative" from="4" to="90"', "outside the text"),
        ('term="soup" polarity="negative" from="x" to="8"', "offsets are whole numbers"),
        ('term="soup" polarity="negative"', "offsets are whole numbers"),
        (f'term="soup" polarity="negative" from="{"9" * 5000}" to="8"', "offsets are whole numbers"),
        (
            'term="soup" polarity="bad" from="4" to="8"',
            "has the polarity 'bad'; allowed are positive, negative",
        ),
        ('term="oup" polarity="negative" from="5" to="8"', "cuts a word of 'soup'"),
    ],
)
def test_a_wrong_term_is_named_by_its_line(tmp_path, term, said):
    terms = f'<aspectTerms><aspectTerm {term}/><aspectTerm term="pie" polarity="neutral" from="9" to="12"/>'
    sentence = f"<sentence><text>The soup pie</text>\n{terms}</aspectTerms></sentence>"
    path = write(tmp_path, f"<sentences>\n{sentence}\n</sentences>")
    with pytest.raises(DataError, match=rf"in\.xml:2: .*{said}"):
        convert("semeval-absa", path, tmp_path / "out.conll")
    report = convert("semeval-absa", path, tmp_path / "out.conll", repair=True)
    assert [p.fatal for p in report.problems] == [False]
    assert labeled(tmp_path / "out.conll")[0][-1] == ("pie", "neutral")
    assert "[repaired: " in report.describe()


def test_white_space_that_attributes_lose_is_no_difference(tmp_path):
    path = write(
        tmp_path,
        "<sentences><sentence><text>hot  soup</text>"
        '<aspectTerms><aspectTerm term="hot soup" polarity="positive" from="0" to="9"/></aspectTerms>'
        "</sentence></sentences>",
    )
    convert("semeval-absa", path, tmp_path / "out.conll")
    assert labeled(tmp_path / "out.conll") == [[("hot soup", "positive")]]


def test_entities_are_never_expanded(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>\n<sentences>&b;</sentences>'
    outside = '<!DOCTYPE x SYSTEM "file:///etc/passwd"><sentences/>'
    for content in (bomb, outside):
        with pytest.raises(DataError, match=r"in\.xml:1: <!DOCTYPE> is not allowed"):
            convert("semeval-absa", write(tmp_path, content), tmp_path / "out.conll")


def test_what_is_no_such_xml(tmp_path):
    with pytest.raises(DataError, match=r"in\.xml:2: not XML: mismatched tag"):
        convert("semeval-absa", write(tmp_path, "<a>\n</b>"), tmp_path / "out.conll")
    with pytest.raises(DataError, match=r"no <sentence> in <a>"):
        convert("semeval-absa", write(tmp_path, "<a/>"), tmp_path / "out.conll")
    with pytest.raises(DataError, match="no such file"):
        convert("semeval-absa", tmp_path / "none.xml", tmp_path / "out.conll")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'<sentences xmlns="http://x.org">\n<sentence/></sentences>', "2: <sentence> is in the namespace"),
        (b'<sentences>\n<sentence>\n<text xmlns="u">so</text></sentence></sentences>', "3: <text> is in the"),
        (b"<sentences>\n<x:sentence/></sentences>", "2: not XML: unbound prefix"),
        (b'<?xml version="1.0" encoding="klingon"?><sentences/>', "1: .*klingon.* Convert the file to UTF-8"),
        (b'<?xml version="1.0" encoding="shift_jis"?><sentences/>', "1: .* Convert the file to UTF-8"),
    ],
)
def test_namespaces_and_encodings_that_are_not_read_are_named_by_their_line(tmp_path, content, said):
    path = tmp_path / "in.xml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"in\.xml:{said}"):
        convert("semeval-absa", path, tmp_path / "out.conll")


def test_other_encodings_and_elements_of_other_namespaces_are_no_trouble(tmp_path):
    other = '<note:note xmlns:note="http://x.org"><note:by/></note:note></sentences>'
    content = RESTAURANTS.replace("UTF-8", "windows-1252").replace("</sentences>", other)
    (tmp_path / "in.xml").write_text(content.replace("soup was cold", "soupé was co"), encoding="cp1252")
    options = ConvertOptions(polarities=4)
    report = convert("semeval-absa", tmp_path / "in.xml", tmp_path / "out.jsonl", options, repair=True)
    assert report.splits[0].num_sentences == 3
    assert "soupé" in read_dataset(tmp_path / "out.jsonl").examples[0].words


WORDS = st.lists(
    st.sampled_from(["tea", "ice", "&", "<3", '"so"', "naïve", "it's", "👍🏽"]), min_size=1, max_size=9
)


@settings(max_examples=40)
@given(WORDS, st.data())
def test_terms_of_any_text_survive(tmp_path_factory, words, data):
    folder = tmp_path_factory.mktemp("x")
    starts = [sum(len(w) + 1 for w in words[:i]) for i in range(len(words) + 1)]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(words)), max_size=4)))
    text = " ".join(words)
    places = [(starts[a], starts[b] - 1) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    terms = "".join(
        f'<aspectTerm term={quoteattr(text[a:b])} polarity="neutral" from="{a}" to="{b}"/>' for a, b in places
    )
    xml = f"<sentences><sentence><text>{escape(text)}</text>{terms}</sentence></sentences>"
    convert("semeval-absa", write(folder, xml), folder / "out.jsonl")
    (example,) = read_dataset(folder / "out.jsonl").examples
    assert example.text == text
    found = [(example.offsets[s.start][0], example.offsets[s.end - 1][1]) for s in example.spans]
    assert found == places
