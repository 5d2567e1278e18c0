"""The labeler that ships with the package: small, honest about itself, and good on text it has not seen."""

import json
from pathlib import Path

import pytest

from lookboth import Labeler, evaluate_labeler, prove, read_split
from lookboth.labelers.folders import SHIPPED, SHIPPED_LABELERS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def committed_f1(side, name):
    file = ROOT / "experiments" / "results" / side / name / "run.json"
    return json.loads(file.read_text(encoding="utf-8"))["scores"]["test"]["micro"]["f1"]


@pytest.fixture(scope="module")
def labeler():
    return Labeler.from_pretrained(device="cpu", precision="fp32")


def size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_they_are_small():
    assert size(SHIPPED) <= 10_000_000
    assert size(SHIPPED_LABELERS["fast"]) <= 8_000_000
    assert size(SHIPPED_LABELERS["turbo"]) <= 10_000_000
    assert size(SHIPPED_LABELERS["open"]) <= 13_000_000


def test_the_fast_one_runs_12_layers_and_reads_as_the_full_one(labeler):
    fast = Labeler.from_pretrained("fast", device="cpu", precision="fp32")
    assert fast.config.exit_layer == 12
    assert prove(fast.model.backbone, fast.config.plan).ok
    texts = ["Angela Merkel left Berlin for New York.", "x", "Shares of Ericsson fell in Stockholm. " * 40]
    for quick, full in zip(fast.predict(texts), labeler.predict(texts), strict=True):
        assert quick.words == full.words
    assert [span.text for span in fast.predict(texts)[0].spans] == ["Angela Merkel", "Berlin", "New York"]


@pytest.mark.parametrize("name", ["uner_en_pud", "uner_en_ewt", "wikigold"])
def test_students_keep_up_with_their_teacher_in_the_committed_runs(name):
    file = ROOT / "experiments" / "results" / "open_ner" / "0011" / "run.json"
    teacher = json.loads(file.read_text(encoding="utf-8"))["scores"][f"test:{name}"]["micro"]["f1"]
    assert committed_f1("shipped", name) >= teacher
    assert committed_f1("shipped_fast", name) >= teacher - 0.03


@pytest.mark.parametrize("labeler", ["shipped", "fast", "turbo"])
def test_changes_of_letter_case_help_in_the_committed_runs(labeler):
    folder = ROOT / "experiments" / "results" / "letter_case"
    usual, changed = (
        json.loads((folder / f"{labeler}{suffix}.json").read_text(encoding="utf-8"))
        for suffix in ("_usual", "")
    )
    for data, by_case in changed.items():
        assert by_case["as it is"] > usual[data]["as it is"] - 0.02
        assert by_case["capitals"] > usual[data]["capitals"] + 0.05
        assert by_case["lower case"] > usual[data]["lower case"] + 0.02


def test_its_card_names_every_data_set_with_its_licence():
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    for name in ("Universal NER", "CC BY-SA 4.0", "CrossNER", "MIT", "SEC filings", "CC BY 3.0", "OntoNotes"):
        assert name in card


def test_turbo_runs_four_layers_that_look_both_ways():
    turbo = Labeler.from_pretrained("turbo", device="cpu", precision="fp32")
    assert turbo.config.exit_layer == 4
    assert prove(turbo.model.backbone, "full").ok
    spans = turbo.predict("Angela Merkel left Berlin for New York.")[0].spans
    assert [span.text for span in spans] == ["Angela Merkel", "Berlin", "New York"]


def test_the_open_one_finds_labels_that_are_named():
    labeler = Labeler.from_pretrained("open", device="cpu", precision="fp32")
    assert prove(labeler.model.backbone, labeler.config.plan).ok
    named = labeler.with_labels(["company", "country", "disease: an illness"])
    texts = ["Toyota sells the Corolla in Japan.", "She was treated for pneumonia in Norway."]
    found = {(span.label, span.text) for each in named.predict(texts) for span in each.spans}
    assert {("company", "Toyota"), ("country", "Japan"), ("country", "Norway")} <= found
    assert committed_f1("shipped_open", "crossner_ai") >= 0.40


@pytest.mark.parametrize("side", ["shipped", "shipped_fast", "shipped_turbo"])
@pytest.mark.parametrize("name", ["uner_en_pud", "uner_en_ewt", "wikigold"])
def test_they_are_fifteen_points_above_spacy_in_the_committed_runs(side, name):
    assert committed_f1(side, name) >= committed_f1("spacy_small", name) + 0.15


def test_it_scores_what_its_run_says_on_unseen_text(labeler):
    examples = read_split("uner_en_pud", "test").examples[:150]
    scores = evaluate_labeler(labeler, examples, interval=False).scores
    assert scores.micro.f1 > 0.72  # 79.6 on all 1,000 sentences; the interval of 150 reaches down to about 73


def test_it_labels_raw_text_with_exact_offsets(labeler):
    text = "  Yesterday Angela Merkel 😀 left\r\nBerlin for  New York.  "
    (prediction,) = labeler.predict(text)
    found = [(span.label, text[span.start_char : span.end_char]) for span in prediction.spans]
    assert found == [("PER", "Angela Merkel"), ("LOC", "Berlin"), ("LOC", "New York")]


def test_a_prediction_does_not_depend_on_its_batch_mates(labeler):
    texts = ["Ada Lovelace lived in London.", "x", "Shares of Ericsson fell in Stockholm. " * 40]
    together = labeler.predict(texts)
    for text, prediction in zip(texts, together, strict=True):
        (alone,) = labeler.predict(text)
        assert alone.tags == prediction.tags


def test_its_layers_see_what_its_plan_says(labeler):
    assert prove(labeler.model.backbone, labeler.config.plan).ok


def test_turbo_labels_more_words_per_second_than_spacy_in_the_committed_run():
    file = ROOT / "experiments" / "results" / "bench" / "taggers_cpu.json"
    rows = {row["side"]: row for row in json.loads(file.read_text(encoding="utf-8"))["tables"]["lookboth"]}
    speeds = [rows[side]["batched"]["words_per_second"] for side in ("lookboth turbo", "spaCy")]
    assert speeds[0] >= speeds[1]
