"""Training, adaptation and prediction on a device, rehearsed without one: nothing is read back, nothing left behind."""

import pytest
import torch
from synchronizing import Synchronized, no_synchronization
from tiny import tiny_config, tiny_tokenizer
from transformers import AutoModelForCausalLM

from lookboth.config import parse_config
from lookboth.data import place_inputs
from lookboth.generative.demonstrations import Demonstrations
from lookboth.generative.generative_building import build_generative
from lookboth.generative.training_examples import TrainingExampleBatches, TrainingExamples
from lookboth.masking import set_gates
from lookboth.training import build_base
from lookboth.training.adaptation import _language_model
from lookboth.training.adaptation_texts import schedule_texts
from lookboth.training.batches import RunBatches, tokenize_examples
from lookboth.training.labeler_building import build_labeler
from lookboth.types import Example, Span

WORDS = ("Ada", "Lovelace", "worked", "in", "London", "with", "Charles")
EXAMPLES = [
    Example(WORDS[: 2 + number % 6], (Span(0, 1, "PER"),), text_labels=("PER",)) for number in range(12)
]
LABELS = ("LOC", "PER")


@pytest.fixture(scope="module")
def language_folder(tmp_path_factory):
    """A random 4-layer Llama with its vocabulary head."""
    folder = tmp_path_factory.mktemp("meta") / "llama"
    tokenizer = tiny_tokenizer("byte-bos")
    AutoModelForCausalLM.from_config(tiny_config("llama", len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def recipe(folder, *overrides):
    values = {
        "model": str(folder), "plan": "0011", "data": {"train": "x"}, "max_tokens": 64, "overlap": 8,
        "adapter": {"rank": 4}, "training": {"precision": "fp32", "batch_tokens": 64, "accumulation": 2},
    }  # fmt: skip
    return parse_config(values, overrides)


def step(model, batches, monkeypatch, config):
    """Run one optimizer step of accumulated batches on the meta device; return the allowed reads."""
    model = model.to("meta").train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    parts = [place_inputs(batches[index], "meta") for index in range(config.training.accumulation)]
    with no_synchronization(monkeypatch) as reads:
        count = sum((part["labels"] != -100).sum() for part in parts)
        for part in parts:
            model(**part, num_items_in_batch=count)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(trained, config.training.clip)
        optimizer.step()
    assert all(weight.grad is not None for weight in trained)
    return reads


def labeler_and_batches(config):
    labeler = build_labeler(config, labels=LABELS, device="cpu")
    pieces = tokenize_examples(EXAMPLES, labeler.encoder, tags=labeler.config.tags, config=config)
    return labeler, RunBatches.build(pieces, config=config, seed=0, pad_id=0)


@pytest.mark.parametrize("layout", ["bucketed", "packed"])
@pytest.mark.parametrize(
    "overrides",
    [
        ("plan=causal",),
        ("plan=full", "adapter.kind=full"),
        ("plan=0011", "training.gradient_checkpointing=true"),
        ("plan='0,0,2,2'", "attn_implementation=eager"),
        ("plan=full", "head.kind=crf", "head.layers=mix"),
        ("plan=0011", "head.kind=context_gate", "label_on=mean"),
        ("plan=full", "label_on=max", "repetition=1"),
        ("plan=full", "task=classification", "head.kind=multi_label"),
    ],
    ids=" ".join,
)
def test_a_training_step_reads_nothing(tiny_llama_folder, monkeypatch, overrides, layout):
    config = recipe(tiny_llama_folder, *overrides, f"training.layout={layout}")
    labeler, batches = labeler_and_batches(config)
    reads = step(labeler.model, batches, monkeypatch, config)
    # Once in each of two passes, and only without a padding mask.
    assert len(reads) == (2 if layout == "packed" else 0)


@pytest.mark.parametrize("kind", ["causal", "0011"])
def test_a_training_step_of_an_encoder_reads_nothing(tmp_path, monkeypatch, kind):
    from encoders import save_encoder

    config = recipe(save_encoder(tmp_path / "bert", "Bert"), f"plan={kind}")
    labeler, batches = labeler_and_batches(config)
    assert step(labeler.model, batches, monkeypatch, config) == []


def test_a_training_step_with_gates_reads_nothing(tiny_llama_folder, monkeypatch):
    """Plan search with gates: a trained weight per layer."""
    config = recipe(tiny_llama_folder, "plan=full", "attn_implementation=eager")
    labeler, batches = labeler_and_batches(config)
    gates = torch.full((4,), 0.5, device="meta", requires_grad=True)
    set_gates(labeler.model.backbone, gates)
    step(labeler.model, batches, monkeypatch, config)
    assert gates.grad is not None


@pytest.mark.parametrize("plan", ["causal", "0011", "0,1,1,"])
def test_a_prediction_reads_its_scores_only(tiny_llama_folder, monkeypatch, plan):
    labeler, batches = labeler_and_batches(recipe(tiny_llama_folder, f"plan='{plan}'"))
    labeler.model.to("meta")
    with no_synchronization(monkeypatch) as reads:
        scores = labeler.score(batches.pieces[:5])
    assert scores.shape[1] == len(labeler.config.tags)
    assert reads == [("lookboth.labelers.labeler", "score")]


@pytest.mark.parametrize("objective", ["clm", "mntp", "mlm"])
@pytest.mark.parametrize("layout", ["bucketed", "packed"])
def test_a_step_of_adaptation_reads_nothing(language_folder, monkeypatch, objective, layout):
    config = recipe(
        language_folder, f"adaptation.objective={objective}", f"training.layout={layout}",
        "adaptation.blocks=16", "training.accumulation=1", "adaptation.batch_tokens=64",
    )  # fmt: skip
    base = build_base(config, device="cpu")
    batches = schedule_texts(EXAMPLES, config, base.tokenizer, vocab_size=300, seed=0)
    reads = step(_language_model(config, base.backbone), batches, monkeypatch, config)
    assert len(reads) == (1 if layout == "packed" else 0)


@pytest.mark.parametrize("layout", ["bucketed", "packed"])
@pytest.mark.parametrize("prompt_plan", [None, "full"])
def test_a_step_of_sift_reads_nothing(language_folder, monkeypatch, layout, prompt_plan):
    config = recipe(
        language_folder, "plan=causal", "method=sift", "generative.k=2", "generative.loss=single",
        f"training.layout={layout}", *([f"generative.prompt_plan={prompt_plan}"] if prompt_plan else []),
    )  # fmt: skip
    labeler = build_generative(config, labels=LABELS, pool=EXAMPLES, seed=0, device="cpu")
    settings = labeler.config.generative
    lessons = TrainingExamples(
        labeler.writer, Demonstrations(EXAMPLES, settings, seed=0), num_epochs=1, loss=settings.loss
    )
    batches = TrainingExampleBatches.of(lessons, config=config.training, seed=0, pad_id=0)
    reads = step(labeler.model.language, batches, monkeypatch, config)
    assert set(reads) <= {("transformers.masking_utils", "find_packed_sequence_indices")}


def test_without_the_facts_of_a_batch_the_device_is_asked(tiny_llama_folder, monkeypatch):
    """The rehearsal can fail: this is the read that the facts save."""
    labeler, batches = labeler_and_batches(recipe(tiny_llama_folder, "plan=full"))
    inputs = place_inputs(batches[0], "meta")
    del inputs["facts"]
    with no_synchronization(monkeypatch), pytest.raises(Synchronized, match="_is_unmasked"):
        labeler.model.to("meta")(**inputs)


def test_a_tensor_left_on_the_cpu_raises(tiny_llama_folder):
    labeler, batches = labeler_and_batches(recipe(tiny_llama_folder))
    inputs = place_inputs(batches[0], "meta")
    labeler.model.to("meta").head.to_empty(device="cpu")
    with pytest.raises((RuntimeError, NotImplementedError)):
        labeler.model(**inputs)
