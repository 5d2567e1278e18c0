"""A saved labeler in transformers' own pipeline gives lookboth's spans, whichever is imported first."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_labeler

import lookboth
from lookboth.config import HeadConfig
from lookboth.errors import ModelError
from lookboth.evaluation.confidence import with_confidence
from lookboth.inference.pipeline import text_log_probs
from lookboth.models.confidence import Confidence
from lookboth.models.labeler import LabelerModel

TEXTS = ("Ada's friend (U.S.) didn't burn Rome.", "  Ünïcode 👩‍👩‍👧 New\r\nYork", "x")


@pytest.fixture(scope="module")
def folder(tiny_llama_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline") / "labeler"
    labeler = tiny_labeler(tiny_llama_folder, plan="0011")
    with torch.no_grad():  # large weights: every tag occurs, and no two are nearly equal
        labeler.model.head.weight.normal_(0, 2.0)
    labeler.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def labeler(folder):
    return lookboth.Labeler.from_pretrained(folder, device="cpu", precision="fp32")


def make_pipeline(folder, **options):
    from transformers import pipeline

    return pipeline("token-classification", model=str(folder), dtype=torch.float32, **options)


def well_formed(labeler, text):
    """Whether the best tag of each word alone is a well-formed sequence: the pipeline knows no other."""
    from lookboth.data.schemes import find_tag_errors
    from lookboth.data.words import split_words
    from lookboth.inference.pipeline import word_log_probs

    words = [text[start:end] for start, end in split_words(text)]
    tags = [labeler.config.tags[i] for i in word_log_probs(labeler, [words])[0].argmax(1)]
    return not find_tag_errors(tags, labeler.config.scheme)


def test_the_pipeline_finds_the_same_spans(folder, labeler):
    ner = make_pipeline(folder, aggregation_strategy="simple")
    compared = 0
    for text in TEXTS:
        if well_formed(labeler, text):
            found = [(e["entity_group"], e["start"], e["end"]) for e in ner(text)]
            wanted = [(s.label, s.start_char, s.end_char) for s in labeler.predict(text)[0].spans]
            assert found == wanted
            compared += len(wanted)
    assert compared


def test_batches_of_the_pipeline_change_nothing(folder):
    alone, batched = make_pipeline(folder), make_pipeline(folder, batch_size=3)
    for one, many in zip([alone(text) for text in TEXTS], batched(list(TEXTS)), strict=True):
        assert [e["entity"] for e in one] == [e["entity"] for e in many]
        assert [e["score"] for e in one] == pytest.approx([e["score"] for e in many], abs=1e-4)


def test_tokens_of_a_word_go_on_with_its_span(folder):
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer("unquestionably", return_tensors="pt")
    tags = [model.config.id2label[i] for i in model(**batch).logits[0].argmax(-1).tolist()]
    assert (batch["word_index"] == 0).sum() == 1
    assert not any(tag.startswith("B-") for tag in tags[2:])


def test_foreign_tokens_are_refused(folder):
    from transformers import AutoModelForTokenClassification

    model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32)
    with pytest.raises(ModelError, match="word_index"):
        model(input_ids=torch.tensor([[1, 2, 3]]))


@pytest.mark.parametrize(
    "imports",
    [
        "import lookboth; from transformers import pipeline",
        "from transformers import pipeline; import lookboth",
        "import lookboth; import transformers; from transformers import AutoConfig; pipeline = transformers.pipeline",
    ],
)
def test_the_order_of_imports_does_not_matter(folder, imports):
    code = f"{imports}; pipeline('token-classification', model={str(folder)!r})('Ada')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_crf_gives_transformers_its_calibrated_marginals(tiny_llama_folder, tmp_path):
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    from lookboth.data.words import split_words
    from lookboth.inference.pipeline import word_log_probs

    labeler = tiny_labeler(tiny_llama_folder, head={"kind": "crf"})
    labeler = with_confidence(labeler, Confidence(temperature=2.5))
    labeler.save_pretrained(tmp_path)
    model = AutoModelForTokenClassification.from_pretrained(tmp_path, dtype=torch.float32)
    batch = AutoTokenizer.from_pretrained(tmp_path)(TEXTS[0], return_tensors="pt")
    found = model(**batch).logits[0].softmax(-1)
    words = [TEXTS[0][start:end] for start, end in split_words(TEXTS[0])]
    first = [batch["word_index"][0].tolist().index(number) for number in range(1, len(words) + 1)]
    wanted = torch.from_numpy(word_log_probs(labeler, [words])[0]).exp()
    torch.testing.assert_close(found[first], wanted, atol=1e-4, rtol=0)


def text_classifier(base, *, label_on, multi_label=False):
    labeler = tiny_labeler(
        base, plan="0,2", label_on=label_on, labels=("ham", "spam", "scam"), scheme="plain"
    )
    head = HeadConfig(kind="multi_label" if multi_label else "linear")
    config = replace(
        labeler.config,
        task="classification",
        tags=("ham", "spam", "scam"),
        head=head,
        confidence=Confidence(temperature=1.5),
    )
    model = LabelerModel(labeler.model.backbone, config)
    with torch.no_grad():
        model.head.weight.normal_(0, 2.0)
    return lookboth.Labeler(config, model.eval(), labeler.tokenizer)


@pytest.mark.parametrize("label_on", ["first", "last", "mean", "max"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_whole_texts_get_the_same_probabilities(tiny_llama_folder, tmp_path, label_on, multi_label):
    from transformers import pipeline

    labeler = text_classifier(tiny_llama_folder, label_on=label_on, multi_label=multi_label)
    labeler.save_pretrained(tmp_path)
    classify = pipeline("text-classification", model=str(tmp_path), dtype=torch.float32, top_k=None)
    for found, wanted in zip(
        [*classify(list(TEXTS)), *classify(list(TEXTS), batch_size=3)],
        text_log_probs(labeler, TEXTS * 2),
        strict=True,
    ):
        scores = {one["label"]: one["score"] for one in found}
        assert [scores[tag] for tag in labeler.config.tags] == pytest.approx(
            np.exp(wanted).tolist(), abs=1e-4
        )


def test_the_wrong_pipeline_is_named(folder, tiny_llama_folder, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    text_classifier(tiny_llama_folder, label_on="last").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"whole texts.*text-classification"):
        AutoModelForTokenClassification.from_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"labels words.*token-classification"):
        AutoModelForSequenceClassification.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with pytest.raises(ModelError, match="words apart"):
        model(input_ids=torch.tensor([[3, 4]]), word_index=torch.tensor([[1, 2]]))
