"""The page of mistakes: every mistake once, nothing lost or executed, filters that count right."""

import json
import re
import shutil
import subprocess
from collections import Counter
from importlib.resources import files

import pytest
from hypothesis import given, strategies as st
from made_spans import sentence_spans
from wellformed import Wellformed

from lookboth.evaluation.error_kinds import count_error_kinds, pair_spans
from lookboth.evaluation.predictions import ScoredSentence
from lookboth.reporting.errors_page import render_errors_page
from lookboth.types import Span

SENTENCES = [
    ScoredSentence(
        ("Ada", "met", "Rome"), (Span(0, 1, "PER"), Span(2, 3, "LOC")), (Span(0, 2, "PER"),), "x:1"
    ),
    ScoredSentence(("All", "well"), (Span(0, 1, "PER"),), (Span(0, 1, "PER"),), "x:2"),
    ScoredSentence(("Oslo", "fell"), (Span(0, 1, "LOC"),), (Span(0, 1, "PER"), Span(1, 2, "LOC")), "x:3"),
]
# What the script needs of a browser: elements with datasets, boxes with a parent that shows a count, events.
FAKE_DOM = """(() => {
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
const boxes = ["kind", "label"].flatMap((name) => input[name].map((value) => {
  const count = { textContent: "" };
  return { name, value, checked: true, parentElement: { querySelector: () => count }, count };
}));
const handlers = {};
const select = (query) => {
  const name = /name="(\\w+)"/.exec(query);
  return boxes.filter((b) => name && b.name === name[1] && (!query.includes(":checked") || b.checked));
};
const form = { querySelectorAll: select, elements: { words: { value: "" } }, hidden: true,
  addEventListener: (event, handler) => { handlers[event] = handler; } };
const output = { textContent: "", scrollIntoView: () => {} };
const pagers = Object.fromEntries(["pages-top", "pages-bottom"].map((id) => [id, { hidden: false,
  buttons: [-1, 1].map((step) => ({ dataset: { step: String(step) }, disabled: false })),
  querySelectorAll() { return this.buttons; },
  addEventListener: (event, handler) => { handlers.turn = handler; } }]));
const articles = input.articles.map(({ text, errors }) => ({ dataset: { text }, hidden: false, querySelectorAll: () =>
  errors.map(([kind, labels]) => ({ dataset: { kind, labels: JSON.stringify(labels) }, hidden: false })) }));
global.document = { getElementById: (id) => (id === "filters" ? form : pagers[id] || output),
  querySelectorAll: () => articles };
require("vm").runInThisContext(input.script);
const seen = [];
for (const { unticked, words, turn } of input.steps) {
  if (turn) {
    handlers.turn({ target: { dataset: { step: turn } } });
  } else {
    boxes.forEach((b) => { b.checked = !unticked.includes(b.value); });
    form.elements.words.value = words;
    handlers.input();
  }
  const pager = pagers["pages-top"];
  seen.push({ pager: [pager.hidden, ...pager.buttons.map((b) => b.disabled)],
    status: output.textContent, counts: Object.fromEntries(boxes.map((b) => [b.value, b.count.textContent])),
    hidden: articles.map((a) => a.hidden) });
}
console.log(JSON.stringify({ seen, formHidden: form.hidden }));
})();"""


def page(sentences, title="Mistakes"):
    return Wellformed(render_errors_page(title, {"model": "<m>"}, sentences))


def items(parsed):
    return [attributes for tag, attributes in parsed.attributes if tag == "li" and "data-kind" in attributes]


def test_every_mistake_is_on_the_page_and_right_sentences_are_not():
    parsed = page(SENTENCES)
    assert [item["data-kind"] for item in items(parsed)] == ["boundary", "missed", "type", "invented"]
    assert [json.loads(item["data-labels"]) for item in items(parsed)] == [
        ["PER"],
        ["LOC"],
        ["LOC", "PER"],
        ["LOC"],
    ]
    assert sum(tag == "article" for tag, _ in parsed.attributes) == 2
    assert "4 mistakes in 2 of 3 sentences" in parsed.text
    assert "x:2" not in parsed.text


@given(st.lists(st.tuples(sentence_spans(), sentence_spans()), max_size=4))
def test_counts_beside_the_filters_are_those_of_the_kinds(spans):
    sentences = [ScoredSentence(tuple("abcdefghijkl"), tuple(a), tuple(b)) for a, b in spans]
    parsed = page(sentences)
    counts = count_error_kinds([a for a, _ in spans], [b for _, b in spans])
    assert Counter(item["data-kind"] for item in items(parsed)) == Counter(
        {str(k): n for k, n in counts.items()}
    )


def test_the_page_needs_nothing_else_and_runs_nothing_that_stands_in_the_data():
    evil = "</script><script>alert(1)</script>\x00\ud800"
    sentence = ScoredSentence((evil, "b"), (Span(0, 1, '"><img src=x onerror=1>'),), (), evil)
    text = render_errors_page(evil, {evil: evil}, [sentence])
    parsed = Wellformed(text)
    assert sum(tag == "script" for tag, _ in parsed.attributes) == 1
    assert not [tag for tag, _ in parsed.attributes if tag in {"img", "link", "iframe"}]
    assert not [
        a for _, attributes in parsed.attributes for a in attributes if a.startswith("on") or a == "src"
    ]
    text.encode("utf-8")


def test_labels_stand_beside_their_words_in_every_script():
    """A mark is isolated from the text around it, and its label from its words, so that Hebrew does not move it."""
    text = render_errors_page("x", {}, SENTENCES)
    assert "mark { unicode-bidi: isolate; }" in text
    assert "mark .label, .errors b { unicode-bidi: plaintext; }" in text


def test_people_without_a_mouse_or_without_sight_find_their_way():
    parsed = page(SENTENCES)
    tags = [tag for tag, _ in parsed.attributes]
    assert tags.index("a") < tags.index("form") < tags.index("main")  # the skip link comes first
    assert ("p", {"id": "status", "role": "status"}) in parsed.attributes
    assert tags.count("fieldset") == tags.count("legend") == 2
    num_boxes = sum(attributes.get("type") == "checkbox" for _, attributes in parsed.attributes)
    assert tags.count("label") == num_boxes + 1  # every box and the search field have one
    assert "wrong: " in parsed.text  # not told by colour alone
    assert tags.count("h2") == tags.count("article")


def test_spans_inside_and_across_one_another_lose_no_word():
    words = ("a", "b", "c", "d")
    spans = (Span(0, 4, "X"), Span(0, 4, "Y"), Span(1, 3, "Z"), Span(2, 4, "W"))
    parsed = page([ScoredSentence(words, spans, ())])
    marks = [attributes for tag, attributes in parsed.attributes if tag == "mark"]
    assert len(marks) == 4
    assert {"class": "wrong"}.items() <= marks[0].items()


def run_script(sentences, steps):
    """Return what the script of the page shows after each step."""
    errors = [[p for p in pair_spans(s.gold, s.predicted) if p.kind] for s in sentences]
    articles = [
        {
            "text": " ".join(s.words).lower(),
            "errors": [[p.kind, sorted({x.label for x in p if x})] for p in own],
        }
        for s, own in zip(sentences, errors, strict=True)
        if own
    ]
    given_to_node = {
        "script": (files("lookboth.reporting") / "templates" / "errors.js").read_text(encoding="utf-8"),
        "kind": ["boundary", "type", "missed", "invented"],
        "label": ["LOC", "PER"],
        "articles": articles,
        "steps": steps,
    }
    done = subprocess.run(
        ["node", "-e", FAKE_DOM], input=json.dumps(given_to_node), capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    assert result["formHidden"] is False
    return result["seen"]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_many_sentences_are_shown_page_by_page():
    many = [ScoredSentence((f"w{number}", "fell"), (Span(0, 1, "LOC"),), ()) for number in range(60)]
    everything = {"unticked": [], "words": ""}
    steps = [everything, {"turn": 1}, {"turn": 1}, {"unticked": [], "words": "w1"}, everything, {"turn": 1}]
    seen = run_script(many, steps)
    shown = [[place for place, hidden in enumerate(step["hidden"]) if not hidden] for step in seen]
    assert shown[:3] == [list(range(25)), list(range(25, 50)), list(range(50, 60))]
    assert seen[0]["status"] == "60 mistakes in 60 sentences, page 1 of 3."
    assert [step["pager"] for step in seen[:3]] == [
        [False, True, False],
        [False, False, False],
        [False, False, True],
    ]
    assert shown[3] == [1, *range(10, 20)]  # a filter begins with the first page of what it shows
    assert seen[3]["pager"][0] is True
    assert seen[3]["status"] == "11 mistakes in 11 sentences shown."
    assert (shown[4], shown[5]) == (shown[0], shown[1])


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_filters_show_what_is_ticked_and_count_what_ticking_would_show():
    steps = [([], ""), (["missed", "type"], ""), (["LOC"], ""), ([], "OSLO "), (["PER", "LOC"], "")]
    seen = run_script(SENTENCES, [{"unticked": unticked, "words": words} for unticked, words in steps])
    everything, fewer, one_label, search, nothing = seen
    assert everything["status"] == "4 mistakes in 2 sentences shown."
    assert everything["counts"] == {"boundary": 1, "type": 1, "missed": 1, "invented": 1, "LOC": 3, "PER": 2}
    assert fewer["status"] == "2 mistakes in 2 sentences shown."
    assert fewer["counts"] == {"boundary": 1, "type": 1, "missed": 1, "invented": 1, "LOC": 1, "PER": 1}
    assert one_label["counts"] == {"boundary": 1, "type": 1, "missed": 0, "invented": 0, "LOC": 3, "PER": 2}
    assert search["hidden"] == [True, False]
    assert nothing["hidden"] == [True, True]


def test_only_the_sentence_decides_its_direction():
    words = ("\u05d3\u05d5\u05d3", "met", "Rome")
    page = render_errors_page("", {}, [ScoredSentence(words, (Span(0, 1, "PER"),), ())])
    (side,) = re.findall(r'<h3>Gold</h3><p lang="" dir="auto">(.*?)</p>', page, re.DOTALL)
    # A browser ignores the text of <bdi> when it chooses the direction of the paragraph.
    decides = re.sub(r"<bdi.*?</bdi>|<[^>]*>", "", side)
    assert decides.strip().startswith(words[0])


def test_a_printed_page_has_no_controls():
    style = files("lookboth.reporting").joinpath("templates/errors.css").read_text(encoding="utf-8")
    assert "form, .skip, .pages, #status { display: none; }" in style.partition("@media print")[2]
