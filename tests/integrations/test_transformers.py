"""A saved labeler in transformers' own pipeline gives lookboth's spans, in every aggregation, at any length."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_labeler

import lookboth
import lookboth.integrations.transformers  # makes saved labelers known to transformers
from lookboth.config.training_sections import HeadConfig
from lookboth.data.words import example_from_text
from lookboth.errors import ModelError
from lookboth.evaluation.labeler_confidence import with_confidence
from lookboth.inference.confidence import Confidence
from lookboth.inference.pieces import tokenize_for
from lookboth.inference.pipeline import text_log_probs
from lookboth.models.labeler_model import LabelerModel

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


def spans_of(predictions):
    return [[(s.label, s.start_char, s.end_char) for s in one.spans] for one in predictions]


def spans_in(found):
    return [[(e["entity_group"], e["start"], e["end"]) for e in one] for one in found]


LONG = " ".join(TEXTS * 12)


@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
def test_every_aggregation_gives_the_spans_and_scores_of_predict(folder, labeler, strategy):
    ner = make_pipeline(folder, aggregation_strategy=strategy)
    texts = [*TEXTS, "", LONG]
    assert len(tokenize_for(labeler, [example_from_text(LONG)])) > 1
    wanted = labeler.predict(texts)
    found = ner(texts)
    assert spans_in(found) == spans_of(wanted)
    assert any(spans_in(found))
    scores = [span.score for one in wanted for span in one.spans]
    assert [e["score"] for one in found for e in one] == pytest.approx(scores, abs=1e-4)
    assert list(ner(text for text in texts)) == found
    assert [ner(text) == one for text, one in zip(TEXTS, found, strict=False)]


@pytest.mark.parametrize("scheme", ["IOBES", "plain"])
def test_tags_of_other_schemes_are_grouped_as_predict_does(tiny_llama_folder, tmp_path, scheme):
    labeler = tiny_labeler(tiny_llama_folder, scheme=scheme)
    with torch.no_grad():
        labeler.model.head.weight.normal_(0, 2.0)
    labeler.save_pretrained(tmp_path)
    found = make_pipeline(tmp_path, aggregation_strategy="first")(list(TEXTS))
    assert spans_in(found) == spans_of(labeler.predict(TEXTS))


def test_words_may_be_given(folder, labeler):
    sentences = [["Ada", "Lovelace", "didn't"], ["New", "York-based"]]
    ner = make_pipeline(folder, aggregation_strategy="first")
    wanted = spans_of(labeler.predict_words(sentences))
    assert spans_in(ner(sentences, is_split_into_words=True)) == wanted
    assert spans_in(ner(sentences[0], is_split_into_words=True)) == wanted[:1]
    joined = ner(sentences, is_split_into_words=True, delimiter="")
    words = [
        [sentence_text[e["start"] : e["end"]] for e in one]
        for one, sentence_text in zip(joined, map("".join, sentences), strict=True)
    ]
    assert words == [[e["word"] for e in one] for one in joined]
    with pytest.raises(ModelError, match="is_split_into_words"):
        ner([["Ada"]])
    with pytest.raises(ModelError, match="is_split_into_words"):
        ner("Ada", offset_mapping=[(0, 3)])


def test_ignored_labels_are_those_asked_for(folder):
    ner = make_pipeline(folder, aggregation_strategy="max")
    everything = ner(TEXTS[0], ignore_labels=[])
    assert [e for e in everything if e["entity_group"] != "O"] == ner(TEXTS[0])
    assert "".join(e["word"].replace(" ", "") for e in everything) == TEXTS[0].replace(" ", "")
    assert {e["entity_group"] for e in ner(TEXTS[0], ignore_labels=["O", "PER"])} <= {"LOC"}


def test_a_pipeline_that_was_saved_loads_everywhere(folder, labeler, tmp_path):
    from transformers import AutoModelForTokenClassification

    ner = make_pipeline(folder, aggregation_strategy="first")
    ner.save_pretrained(tmp_path / "pipeline")
    AutoModelForTokenClassification.from_pretrained(folder).save_pretrained(tmp_path / "model")
    again = make_pipeline(tmp_path / "pipeline", aggregation_strategy="first")
    assert again(list(TEXTS)) == ner(list(TEXTS))
    for saved in ("pipeline", "model"):
        loaded = lookboth.Labeler.from_pretrained(tmp_path / saved, device="cpu", precision="fp32")
        assert spans_of(loaded.predict(TEXTS)) == spans_of(labeler.predict(TEXTS))


def test_other_models_keep_the_pipeline_of_transformers(tiny_llama_folder):
    from transformers import AutoTokenizer, LlamaConfig, LlamaForTokenClassification, pipeline
    from transformers.pipelines import TokenClassificationPipeline

    config = LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = LlamaForTokenClassification(config)
    made = pipeline(
        "token-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(tiny_llama_folder)
    )
    assert type(made) is TokenClassificationPipeline


def test_the_tokenizer_numbers_words_in_batches(folder):
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    alone, batch = tokenizer("Ada Lovelace"), tokenizer(["x", "Ada Lovelace"], return_tensors="pt")
    assert (
        batch.word_ids(1)
        == alone.word_ids()
        == tokenizer(["Ada", "Lovelace"], is_split_into_words=True).word_ids()
    )
    torch.testing.assert_close(model(**batch).logits[1], model(**alone).logits[0], atol=1e-4, rtol=0)


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
    labeler = tiny_labeler(base, plan="0,2", labels=("ham", "spam", "scam"), scheme="plain")
    head = HeadConfig(kind="multi_label" if multi_label else "linear")
    config = replace(
        labeler.config,
        task="classification",
        label_on=label_on,
        tags=("ham", "spam", "scam"),
        head=head,
        confidence=Confidence(temperature=1.5),
    )
    model = LabelerModel(labeler.model.backbone, config)
    with torch.no_grad():
        model.head.weight.normal_(0, 2.0)
    return lookboth.Labeler(config, model.eval(), labeler.tokenizer)


@pytest.mark.parametrize("label_on", ["first", "last", "mean", "max", "mean_special", "max_score"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_whole_texts_get_the_same_probabilities(tiny_llama_folder, tmp_path, label_on, multi_label):
    from transformers import pipeline

    labeler = text_classifier(tiny_llama_folder, label_on=label_on, multi_label=multi_label)
    labeler.save_pretrained(tmp_path)
    classify = pipeline("text-classification", model=str(tmp_path), dtype=torch.float32, top_k=None)
    texts = (*TEXTS, LONG)
    for found, wanted in zip(
        [*classify(list(texts)), *classify(list(texts), batch_size=3)],
        text_log_probs(labeler, texts * 2),
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
    with pytest.raises(ModelError, match="word_index numbers words"):
        model(input_ids=torch.tensor([[3, 4]]), word_index=torch.tensor([[1, 2]]))
