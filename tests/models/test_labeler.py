"""The labeler: which state stands for a word, and that nothing but the plan decides what it has seen."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from tiny import tiny_labeler, tiny_tokenizer
from transformers import AutoModel, Gemma3nTextConfig, OPTConfig

from lookboth.config.recipe_files import parse_config
from lookboth.config.training_sections import HeadConfig
from lookboth.data.packing import build_batch
from lookboth.data.whole_texts import tokenize_texts
from lookboth.errors import ConfigError, PlanError
from lookboth.inference.pipeline import word_log_probs
from lookboth.labelers.labeler import Labeler
from lookboth.masking.attention import get_plan
from lookboth.masking.plan import MaskPlan
from lookboth.models.labeler_model import LabelerModel

SENTENCES = (
    ("Ada", "Lovelace", "was", "born", "in", "London", "."),
    ("Toyota",),
    ("unquestionably", "the", "plant", "near", "Burnaston", "and", "in", "New", "York", "burns", "!"),
    ("what", "is", "it", "?"),
)
PLANS = ("causal", "0011", "1100", "full", "0,0,2,*", "3,")
ODD_TEXTS = (
    "",
    "   ",
    "\n",
    "\u200b",
    "\x00",
    "\ud83d",
    "a" * 5000,
    "👩‍👩‍👧‍👦 in  London\r\n",
    "e\u0301" * 20,
)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def folder(request):
    return request.getfixturevalue(f"tiny_{request.param}_folder")


def logits_of(labeler, examples, layout):
    batch = build_batch(examples, layout=layout)
    with torch.inference_mode():
        return labeler.model(**batch.tensors())["logits"]


@pytest.mark.parametrize("label_on", ["first", "last", "mean", "max"])
@pytest.mark.parametrize("layout", ["bucketed", "packed"])
def test_the_right_states_are_labeled(folder, label_on, layout):
    labeler = tiny_labeler(folder, label_on=label_on, plan="0011")
    examples = [labeler.encoder.encode(words) for words in SENTENCES]
    expected = []
    with torch.inference_mode():
        for example in examples:
            ids = torch.tensor([example.input_ids])
            states = labeler.model.backbone(input_ids=ids).last_hidden_state[0]
            for first, end in example.word_tokens:
                word = states[first:end]
                pick = {"first": word[0], "last": word[-1], "mean": word.mean(0), "max": word.amax(0)}
                expected.append(labeler.model.head(pick[label_on], torch.tensor([1])))
    assert any(end - first > 2 for example in examples for first, end in example.word_tokens)
    torch.testing.assert_close(
        logits_of(labeler, examples, layout), torch.stack(expected), atol=2e-4, rtol=1e-4
    )


@pytest.mark.parametrize("plan", PLANS)
def test_packed_equals_padded_equals_alone(folder, plan):
    labeler = tiny_labeler(folder, plan=plan, label_on="mean")
    examples = [labeler.encoder.encode(words) for words in SENTENCES]
    alone = torch.cat([logits_of(labeler, [example], "bucketed") for example in examples])
    for layout in ("bucketed", "packed"):
        torch.testing.assert_close(logits_of(labeler, examples, layout), alone, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("plan", "sees_right"), [("causal", 0), ("0,0,0,2", 2), ("1,1,1,1", 4), ("full", 99)]
)
def test_a_later_word_moves_only_what_may_see_it(tiny_llama_folder, plan, sees_right):
    labeler = tiny_labeler(tiny_llama_folder, plan=plan)
    words = list(SENTENCES[2])
    before = labeler.encoder.encode(words)
    changed = labeler.encoder.encode([*words[:-1], "?"])
    assert len(before) == len(changed)
    moved = (logits_of(labeler, [before], "packed") - logits_of(labeler, [changed], "packed")).abs().amax(
        1
    ) > 1e-6
    place = before.word_tokens[-1][0]
    expected = [end - 1 + sees_right >= place for _, end in before.word_tokens]
    assert moved.tolist() == expected


def test_a_plan_changes_what_is_predicted(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder)
    causal = word_log_probs(labeler, SENTENCES)
    full = word_log_probs(labeler.with_plan("full"), SENTENCES)
    assert abs(causal[0] - full[0]).max() > 1e-3
    again = labeler.with_plan(MaskPlan.parse("causal", 4))
    assert again.config.plan.is_causal
    for left, right in zip(causal, word_log_probs(again, SENTENCES), strict=True):
        assert abs(left - right).max() < 1e-5


def test_a_view_under_another_plan_leaves_the_labeler_as_it_was(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, plan="0011")
    before = word_log_probs(labeler, SENTENCES)
    view = labeler.with_plan("full")
    assert str(labeler.config.plan) == "0011"
    assert get_plan(labeler.model.backbone) == labeler.config.plan
    moved = word_log_probs(view, SENTENCES)
    assert get_plan(labeler.model.backbone) == labeler.config.plan
    for left, right in zip(before, word_log_probs(labeler, SENTENCES), strict=True):
        assert abs(left - right).max() == 0
    assert abs(moved[0] - before[0]).max() > 1e-3
    with pytest.raises(PlanError):
        labeler.with_plan(MaskPlan.parse("full", 3))
    assert get_plan(labeler.model.backbone) == labeler.config.plan


@given(cut=st.integers(1, 3), seed=st.integers(0, 5))
@settings(max_examples=8, deadline=None)
def test_accumulated_loss_and_gradients_equal_one_big_batch(tiny_llama_folder, cut, seed):
    labeler = tiny_labeler(tiny_llama_folder, seed=seed)
    model: LabelerModel = labeler.model
    labels = [[(word + seed) % 5 if word % 3 else -100 for word in range(len(s))] for s in SENTENCES]
    examples = [labeler.encoder.encode(w, y) for w, y in zip(SENTENCES, labels, strict=True)]
    num_labels = sum(tag != -100 for tags in labels for tag in tags)

    def gradients(batches, count):
        model.zero_grad()
        losses = []
        for batch in batches:
            loss = model(**build_batch(batch).tensors(), num_items_in_batch=count)["loss"]
            loss.backward()
            losses.append(loss.item())
        found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        return sum(losses), torch.cat([gradient.flatten() for gradient in found])

    whole = gradients([examples], None)
    parts = gradients([examples[:cut], examples[cut:]], torch.tensor(num_labels))
    assert parts[0] == pytest.approx(whole[0], rel=1e-4)
    torch.testing.assert_close(parts[1], whole[1], atol=1e-4, rtol=1e-3)


def test_context_words_do_not_count(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder)
    nothing = build_batch([labeler.encoder.encode(SENTENCES[0], [-100] * 7)])
    assert labeler.model(**nothing.tensors())["loss"].item() == 0
    some = [labeler.encoder.encode(SENTENCES[0], [1, -100, 2, -100, -100, -100, -100])]
    output = labeler.model(**build_batch(some).tensors())
    expected = torch.nn.functional.cross_entropy(output["logits"][[0, 2]], torch.tensor([1, 2]))
    torch.testing.assert_close(output["loss"], expected)


def test_predictions_do_not_depend_on_batch_mates(folder):
    labeler = tiny_labeler(folder, plan="full")
    texts = [" ".join(words) for words in SENTENCES] * 3
    together = labeler.predict(texts, batch_tokens=64)
    for text, prediction in zip(texts, together, strict=True):
        alone = labeler.predict(text)[0]
        assert alone.tags == prediction.tags
        assert [s.score for s in alone.spans] == pytest.approx([s.score for s in prediction.spans], abs=1e-3)


def test_offsets_point_into_the_text_as_given(folder):
    labeler = tiny_labeler(folder)
    texts = [*ODD_TEXTS, "Ada  Lovelace\tcame\r\nto   London."]
    for text, prediction in zip(texts, labeler.predict(texts), strict=True):
        assert prediction.text == text
        assert [text[start:end] for start, end in prediction.offsets] == list(prediction.words)
        assert len(prediction.tags) == len(prediction.words)
        for span in prediction.spans:
            assert text[span.start_char : span.end_char] == span.text
            assert 0 <= span.score <= 1 + 1e-6


def test_every_given_word_gets_one_tag(folder):
    labeler = tiny_labeler(folder, plan="0011")
    sentences = [["", "\u200b", " ", "\ud83d", "x" * 3000], [], ["London"], ["word"] * 700]
    for words, prediction in zip(sentences, labeler.predict_words(sentences), strict=True):
        assert prediction.words == tuple(words)
        assert len(prediction.tags) == len(words)
        for (start, end), word in zip(prediction.offsets, words, strict=True):
            assert prediction.text[start:end] == word


def test_windows_give_what_one_pass_gives_where_context_suffices(tiny_llama_folder):
    """The first words of a text have the same left context with and without windows."""
    labeler = tiny_labeler(tiny_llama_folder, max_tokens=64)
    words = list(SENTENCES[2]) * 20
    cut = word_log_probs(labeler, [words])[0]
    whole = word_log_probs(tiny_labeler(tiny_llama_folder, max_tokens=500), [words])[0]
    assert cut.shape == whole.shape
    assert abs(cut[:5] - whole[:5]).max() < 1e-4
    assert abs(cut).sum(axis=1).min() > 0  # no row was left out


def test_prediction_leaves_the_training_mode_as_it_was(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, dropout=0.9)
    labeler.model.train()
    first, second = (labeler.predict("Ada was in London")[0] for _ in range(2))
    assert first == second
    assert labeler.model.training


def test_streaming_reads_no_further_than_it_must(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder)
    predictions = labeler.stream(f"London {number}" for number in range(5000))
    assert next(predictions).text == "London 0"
    assert sum(1 for _ in predictions) == 4999


def test_labels_without_prefixes(tiny_llama_folder):
    assert tiny_labeler(tiny_llama_folder).config.labels == ("LOC", "PER")
    assert tiny_labeler(tiny_llama_folder, scheme="IOBES").config.labels == ("LOC", "PER")
    plain = tiny_labeler(tiny_llama_folder, scheme="plain", labels=("X-A", "NOUN"))
    assert plain.config.labels == ("NOUN", "X-A")


def test_a_head_is_as_wide_as_the_states_that_the_model_gives(tmp_path):
    config = OPTConfig(
        vocab_size=400, hidden_size=32, ffn_dim=48, word_embed_proj_dim=16, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64, do_layer_norm_before=False,
    )  # fmt: skip
    save_with_tokenizer(config, tmp_path)
    labeler = tiny_labeler(tmp_path, plan="full")
    assert labeler.model.head.hidden_size == 16
    assert len(labeler.predict_words(SENTENCES)) == len(SENTENCES)
    with pytest.raises(
        ConfigError, match="'mix' needs layers of one width; this model has states of widths 16 and 32"
    ):
        tiny_labeler(tmp_path, plan="full", head={"layers": "mix"})


def test_streams_of_a_layer_are_mixed_as_states_of_their_own(tmp_path):
    config = Gemma3nTextConfig(
        vocab_size=400, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=128, num_kv_shared_layers=0, altup_num_inputs=2,
        layer_types=["sliding_attention", "full_attention"], activation_sparsity_pattern=[0.0] * 2,
        hidden_size_per_layer_input=8, vocab_size_per_layer_input=400, laurel_rank=8,
    )  # fmt: skip
    save_with_tokenizer(config, tmp_path)
    labeler = tiny_labeler(tmp_path, plan="full", head={"layers": "mix"})
    assert len(labeler.model.head.mix.weights) == 2 * 2 + 1
    assert len(labeler.predict_words(SENTENCES)) == len(SENTENCES)


def save_with_tokenizer(config, folder):
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    tiny_tokenizer("byte-bos").save_pretrained(folder)


@pytest.mark.parametrize("label_on", ["mean_special", "max_score"])
@pytest.mark.parametrize("layout", ["bucketed", "packed"])
def test_texts_are_pooled_as_ls_llama_does(tiny_llama_folder, tmp_path, label_on, layout):
    """4AI/LS-LLaMA pools with the special token before the text, max over scores; its head has no bias."""
    labeler = text_labeler(tiny_llama_folder, label_on)
    assert labeler.model.head.bias is None
    texts = ["Ada Lovelace", "so what", "x"]
    pieces = tokenize_texts(texts, labeler.encoder, label_on=label_on)
    assert all(piece.word_tokens == ((0, len(piece)),) for piece in pieces)
    expected = []
    with torch.inference_mode():
        for piece in pieces:
            states = labeler.model.backbone(input_ids=torch.tensor([piece.input_ids])).last_hidden_state[0]
            scores = states @ labeler.model.head.weight.T
            expected.append(scores.mean(0) if label_on == "mean_special" else scores.amax(0))
    found = logits_of(labeler, pieces, layout)
    torch.testing.assert_close(found, torch.stack(expected), atol=2e-4, rtol=1e-4)
    labeler.save_pretrained(tmp_path)
    again = Labeler.from_pretrained(tmp_path, device="cpu", precision="fp32", merge=False)
    assert again.config.head == labeler.config.head
    assert again.predict(texts) == labeler.predict(texts)


def test_special_tokens_count_in_the_first_window_alone(tiny_llama_folder):
    labeler = text_labeler(tiny_llama_folder, "mean_special")
    pieces = tokenize_texts(
        ["Ada Lovelace " * 40], labeler.encoder, label_on="mean_special", max_tokens=32, overlap=4
    )
    starts = [piece.word_tokens[0][0] for piece in pieces]
    assert starts[0] == 0
    assert min(starts[1:]) > 0


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"label_on": "max_score"}, "whole texts"),
        ({"label_on": "mean_special", "task": "classification", "repetition": 1}, "repetition"),
        (
            {"label_on": "max_score", "task": "classification", "head": {"kind": "context_gate"}},
            "single tokens",
        ),
    ],
)
def test_poolings_of_texts_are_refused_where_they_mean_nothing(keys, said):
    with pytest.raises(ConfigError, match=said):
        parse_config({"model": "x", "data": {"train": "x"}, **keys})


def text_labeler(base, label_on):
    made = tiny_labeler(base, plan="full", scheme="plain", labels=("bad", "good"))
    config = replace(
        made.config,
        task="classification",
        tags=("bad", "good"),
        label_on=label_on,
        head=HeadConfig(bias=False),
    )
    return Labeler(config, LabelerModel(made.model.backbone, config).eval(), made.tokenizer)
