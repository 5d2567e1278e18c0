"""The spaCy component: found without an import, aligned to tokens, the same in batches and after saving."""

import gc
import json
import os
import pickle
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from tiny import CORPUS, tiny_labeler

import lookboth
from lookboth.errors import ConfigError, ModelError

spacy = pytest.importorskip("spacy")
from spacy.tokens import Doc, DocBin, Span  # noqa: E402
from spacy.training import Example  # noqa: E402

from lookboth.integrations import spacy as component  # noqa: E402

ROOT = Path(__file__).parents[2]
TEXTS = (
    "Ada's friend (U.S.) didn't burn Rome.",
    "  Ünïcode 👩‍👩‍👧 New\r\nYork-based, 3km to-day e.g. a/b cannot",
    "",
    "   ",
    "x",
)


@pytest.fixture(scope="module")
def folder(tiny_llama_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spacy") / "labeler"
    labeler = tiny_labeler(tiny_llama_folder, plan="0011")
    torch.manual_seed(7)
    with torch.no_grad():  # large weights: every tag occurs, and no two are nearly equal
        labeler.model.head.weight.normal_(0, 2.0)
    labeler.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def labeler(folder):
    return lookboth.Labeler.from_pretrained(folder, device="cpu", merge=True)


@pytest.fixture(scope="module")
def nlp(folder):
    return make_nlp(folder)


def make_nlp(folder, **config):
    nlp = spacy.blank("en")
    nlp.add_pipe("lookboth", config={"model": str(folder), "device": "cpu", **config})
    return nlp


def entities(doc):
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


def group(doc, key="lookboth"):
    scores = doc.spans[key].attrs["scores"].tolist()
    return [(s.start, s.end, s.label_, score) for s, score in zip(doc.spans[key], scores, strict=True)]


def test_the_installed_package_is_found_without_an_import(folder, tmp_path):
    """Entry points of pyproject.toml, as an installed package has them, in a process that imports only spaCy."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        "spacy_factories"
    ]
    info = tmp_path / "lookboth-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lookboth\nVersion: 0.1.0\n")
    lines = "".join(f"{name} = {target}\n" for name, target in points.items())
    (info / "entry_points.txt").write_text(f"[spacy_factories]\n{lines}")
    code = (
        f"import spacy; nlp = spacy.blank('en'); nlp.add_pipe('lookboth', config=dict(model={str(folder)!r}))"
    )
    code += "; nlp('x'); print(nlp.pipe_names, nlp.pipe_labels)"
    path = os.pathsep.join([str(tmp_path), str(Path(lookboth.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['lookboth'] {'lookboth': ['LOC', 'PER']}"


@pytest.mark.parametrize("text", TEXTS)
def test_every_span_is_in_doc_spans_over_the_tokens_it_touches(nlp, labeler, text):
    doc, found = nlp(text), labeler.predict(text)[0].spans
    wanted = [
        (*(t.i for t in doc if t.idx < s.end_char and s.start_char < t.idx + len(t)), s.label) for s in found
    ]
    assert [(*range(start, end), label) for start, end, label, _ in group(doc)] == wanted
    assert [score for *_, score in group(doc)] == pytest.approx([s.score for s in found])


def test_spans_on_token_borders_are_entities_with_the_same_offsets(nlp, labeler):
    text = "Ada Lovelace lived in London with Charles Babbage ."
    found = [(s.start_char, s.end_char, s.label) for s in labeler.predict(text)[0].spans]
    assert found
    assert entities(nlp(text)) == found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["New", "York-based", "3km", "cannot", "e.g.", "U.S.", "a/b", "👩‍👧", "\n"]),
        max_size=8,
    )
)
def test_alignment_modes_are_nested_and_entities_never_overlap(nlp, labeler, words):
    text = " ".join(words)
    ours = nlp.get_pipe("lookboth")
    tokens = {}
    for mode in ("strict", "contract", "expand"):
        made = component.LookbothComponent(alignment_mode=mode)
        made.labeler = ours.labeler
        doc = made(nlp.make_doc(text))
        tokens[mode] = [set(range(start, end)) for start, end, _, _ in group(doc)]
        covered = [token.i for ent in doc.ents for token in ent]
        assert len(covered) == len(set(covered))
        assert {token for span in tokens[mode] for token in span} >= set(covered)
    assert all(span in tokens["expand"] for span in tokens["strict"])
    assert all(any(span <= wide for wide in tokens["expand"]) for span in tokens["contract"])
    assert len(tokens["expand"]) == len(labeler.predict(text)[0].spans)


def test_overlapping_spans_are_all_in_doc_spans(tiny_llama_folder, nlp):
    made = component.LookbothComponent()
    made.labeler = tiny_labeler(tiny_llama_folder, head={"kind": "nested"}, seed=3)
    doc = made(nlp.make_doc("Ada Lovelace lived in London with Charles Babbage"))
    found = made.labeler.predict(doc.text)[0].spans
    assert [(s.start_char, s.end_char, s.label_) for s in doc.spans["lookboth"]] == [
        (s.start_char, s.end_char, s.label) for s in found
    ]
    covered = [token.i for ent in doc.ents for token in ent]
    assert len(covered) == len(set(covered)) < sum(len(span) for span in doc.spans["lookboth"])


def test_of_spans_that_meet_in_one_token_the_better_one_is_the_entity(nlp):
    made = component.LookbothComponent()
    text = "cannot go"
    doc = Doc(nlp.vocab, words=["cannot", "go"])
    spans = (
        lookboth.types.PredictedSpan(0, 1, "PER", "can", 0, 3, 0.6),
        lookboth.types.PredictedSpan(1, 2, "LOC", "not", 3, 6, 0.9),
    )
    made._annotate(doc, lookboth.Prediction(text, ("can", "not", "go"), ((0, 3), (3, 6), (7, 9)), (), spans))
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("cannot", "LOC")]
    assert [(*span[:3], pytest.approx(span[3])) for span in group(doc)] == [
        (0, 1, "PER", 0.6),
        (0, 1, "LOC", 0.9),
    ]


def test_earlier_entities_stay_where_no_new_one_overlaps(nlp):
    text = "Ada Lovelace lived in London with Charles Babbage ."
    alone = nlp(text)
    taken = {token.i for ent in alone.ents for token in ent}
    doc = nlp.make_doc(text)
    doc.ents = [Span(doc, i, i + 1, label="OLD") for i in range(len(doc))]
    doc = nlp.get_pipe("lookboth")(doc)
    assert {ent.start for ent in doc.ents if ent.label_ == "OLD"} == set(range(len(doc))) - taken
    assert [ent for ent in entities(doc) if ent[2] != "OLD"] == entities(alone)


def test_batches_change_nothing(nlp):
    texts = list(TEXTS) * 3
    piped = [(entities(doc), group(doc)) for doc in nlp.pipe(texts, batch_size=4)]
    alone = [(entities(doc), group(doc)) for doc in map(nlp, texts)]
    assert [ents for ents, _ in piped] == [ents for ents, _ in alone]
    for (_, some), (_, others) in zip(piped, alone, strict=True):
        assert [span[:3] for span in some] == [span[:3] for span in others]
        assert [span[3] for span in some] == pytest.approx([span[3] for span in others], abs=1e-5)


def test_texts_are_read_as_they_are_needed(nlp):
    taken = []
    stream = nlp.pipe((taken.append(text) or text for text in ["Rome"] * 1000), batch_size=8)
    next(stream)
    assert len(taken) < 50


def test_settings_do_what_they_say(folder, labeler):
    text = TEXTS[0]
    scores = sorted(s.score for s in labeler.predict(text)[0].spans)
    cut = (scores[0] + scores[-1]) / 2
    doc = make_nlp(folder, min_score=cut, spans_key="names", batch_tokens=16)(text)
    assert "lookboth" not in doc.spans
    assert len(doc.spans["names"]) == sum(score >= cut for score in scores) > 0


@pytest.mark.parametrize("wrong", [{"alignment_mode": "wide"}, {"min_score": 2.0}, {"batch_tokens": 0}])
def test_wrong_settings_are_refused_when_the_pipe_is_added(folder, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make_nlp(folder, **wrong)


def test_a_labeler_of_whole_texts_is_refused(monkeypatch, labeler):
    from dataclasses import replace

    of_texts = lookboth.Labeler(
        replace(labeler.config, task="classification"), labeler.model, labeler.tokenizer
    )
    monkeypatch.setattr(component, "open_labeler", lambda *_, **__: of_texts)
    with pytest.raises(ModelError, match="whole texts"):
        component.LookbothComponent(model="x")(spacy.blank("en").make_doc("so"))


def test_labels_of_an_open_labeler_are_named_in_the_settings(tiny_llama_folder, folder, tmp_path):
    opened = tiny_labeler(tiny_llama_folder, head={"kind": "open"})
    opened.save_pretrained(tmp_path / "open")
    named = ["company", "creative work: a song, film or book"]
    nlp = make_nlp(tmp_path / "open", labels=named)
    nlp.to_disk(tmp_path / "pipeline")
    expected = opened.with_labels(named).predict(["Ada Lovelace lived in London."])[0]
    for each in (nlp, spacy.load(tmp_path / "pipeline")):
        doc = each("Ada Lovelace lived in London.")
        assert {span.label_ for span in doc.spans["lookboth"]} == {span.label for span in expected.spans}
        assert each.get_pipe("lookboth").labels == ("company", "creative work")
    with pytest.raises(ModelError, match="labels of this labeler are fixed"):
        make_nlp(folder, labels=named)("Ada")


def test_a_saved_pipeline_keeps_the_reference_and_the_settings(folder, nlp, tmp_path):
    made = make_nlp(folder, spans_key="names", alignment_mode="contract")
    made.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline")
    assert {p: q for p, q in vars(loaded.get_pipe("lookboth")).items() if p != "labeler"} == {
        p: q for p, q in vars(made.get_pipe("lookboth")).items() if p != "labeler"
    }
    assert entities(loaded(TEXTS[0])) == entities(made(TEXTS[0]))
    assert (
        sum(file.stat().st_size for file in (tmp_path / "pipeline").rglob("*") if file.is_file()) < 1_000_000
    )
    again = spacy.blank("en")
    again.add_pipe("lookboth", config={"model": str(folder)})
    again.from_bytes(nlp.to_bytes())
    assert entities(again(TEXTS[0])) == entities(nlp(TEXTS[0]))


def test_several_processes_label_after_many_threads_computed_in_the_parent(folder):
    """Its own process, so that the number of threads of this one does not matter; a hang ends in the time limit."""
    code = """
import sys, spacy, torch
torch.set_num_threads(4)
left = torch.randn(512, 512)
left @ left  # from here on OpenMP has threads, which a forked process lacks
nlp = spacy.blank("en")
nlp.add_pipe("lookboth", config={"model": sys.argv[1], "device": "cpu"})
texts = [word * 40 for word in ("Ada Lovelace lived in London. ", "New York ")] * 4
alone = [doc.to_bytes() for doc in nlp.pipe(texts)]
docs = list(nlp.pipe(texts, n_process=2, batch_size=2))
assert [[(e.text, e.label_) for e in doc.ents] for doc in docs] == [
    [(e.text, e.label_) for e in spacy.tokens.Doc(nlp.vocab).from_bytes(one).ents] for one in alone
]
assert all(doc.to_bytes() for doc in docs)  # their span groups belong to them
"""
    limit = 900  # seconds, for a machine under load; it takes ten alone
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=limit
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "copied", [lambda doc: doc.copy(), lambda doc: Doc(doc.vocab).from_bytes(doc.to_bytes())]
)
def test_a_copy_outlives_its_doc(nlp, copied):
    doc = nlp(TEXTS[0])
    wanted = group(doc)
    copy = copied(doc)
    del doc
    gc.collect()
    assert group(Doc(nlp.vocab).from_bytes(copy.to_bytes())) == wanted


def test_the_weights_are_not_pickled(nlp):
    nlp(TEXTS[0])
    assert len(pickle.dumps(nlp.get_pipe("lookboth"))) < 2000


def test_docs_with_scores_can_be_stored(nlp):
    doc = nlp(TEXTS[0])
    stored = next(iter(DocBin(store_user_data=True, docs=[doc]).get_docs(nlp.vocab)))
    assert (entities(stored), group(stored)) == (entities(doc), group(doc))


def test_spacy_evaluate_gives_the_scores_of_the_entities(folder, nlp, tmp_path):
    """Gold made from the predictions, one entity in each text left out: recall 1, precision known."""
    golds, found = [], 0
    for text in CORPUS[:3]:
        doc = nlp(text)
        found += len(doc.ents)
        gold = nlp.make_doc(text)
        gold.ents = [Span(gold, ent.start, ent.end, label=ent.label_) for ent in doc.ents[1:]]
        golds.append(gold)
    assert found > 3
    precision = (found - 3) / found
    scores = nlp.evaluate([Example(nlp.make_doc(gold.text), gold) for gold in golds])
    assert (scores["ents_p"], scores["ents_r"]) == (pytest.approx(precision), 1.0)

    nlp.to_disk(tmp_path / "pipeline")
    DocBin(docs=golds).to_disk(tmp_path / "gold.spacy")
    names = [str(tmp_path / name) for name in ("pipeline", "gold.spacy", "scores.json")]
    # Its own process, as `spacy evaluate` runs; the factory is imported here in case the package is not installed.
    code = "import sys, lookboth.integrations.spacy; from spacy.cli import evaluate"
    code += "; from pathlib import Path; a, b, c = map(Path, sys.argv[1:]); evaluate(a, b, c, silent=True)"
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "scores.json").read_text())["ents_p"] == pytest.approx(precision)
