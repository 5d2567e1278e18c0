"""A plan of the prompt: its tokens see each other, no token of the answer is seen before it is written."""

import pytest
import torch

from lookboth.compat import cache_argument
from lookboth.config.recipe_files import parse_config
from lookboth.config.training_sections import TrainConfig
from lookboth.generative.demonstrations import Demonstrations
from lookboth.generative.generative_building import build_generative
from lookboth.generative.generative_labeler import GenerativeLabeler
from lookboth.generative.prompt_plan import encode_prompts
from lookboth.generative.training_examples import TrainingExampleBatches, TrainingExamples
from lookboth.masking.attention import under_plan
from lookboth.masking.plan import MaskPlan
from lookboth.types import Example, Span

POOL = [
    Example(("Ada", "was", "born", "in", "London"), (Span(0, 1, "PER"), Span(4, 5, "LOC"))),
    Example(("the", "fox", "jumps")),
    Example(("New", "York", "!"), (Span(0, 2, "LOC"),)),
    Example(("Charles", "worked"), (Span(0, 1, "PER"),)),
]


def build(folder, plan="full", method="sift", **settings):
    config = parse_config(
        {
            "model": str(folder), "method": method, "data": {"train": "x"}, "training": {"precision": "fp32"},
            "generative": {"k": 1, "instruction": False, "loss": "single", "prompt_plan": plan, **settings},
        }
    )  # fmt: skip
    return build_generative(config, labels=["LOC", "PER"], pool=POOL, seed=0, device="cpu")


def batch_of(labeler, layout, *, batch_tokens=2000):
    lessons = TrainingExamples(
        labeler.writer, Demonstrations(POOL, labeler.config.generative), num_epochs=1, loss="single"
    )
    config = TrainConfig(batch_tokens=batch_tokens, layout=layout)
    return lessons, TrainingExampleBatches.of(lessons, config=config, seed=0, pad_id=0)


def logits_of(labeler, tensors, every=False):
    if every:  # of every position, whatever is learned
        size = tensors["input_ids"].numel()
        tensors = {**tensors, "positions": torch.arange(size), "labels": torch.zeros(size, dtype=torch.long)}
    labeler.model.language.eval()
    with torch.no_grad():
        return labeler.model.language(**tensors)["logits"]


def scores_of(predictions):
    return [value for p in predictions for s in p.spans for value in (s.start, s.end, s.score)]


@pytest.mark.parametrize("plan", ["full", "0011", "0,0,2,*"])
def test_only_the_prompt_looks_right(tiny_writer_folder, plan):
    labeler = build(tiny_writer_folder, plan)
    _, batches = batch_of(labeler, "packed", batch_tokens=16)  # every prompt alone
    tensors = batches[0]
    num_prompt = int(tensors["prompt"].sum())
    size = tensors["input_ids"].numel()
    before = logits_of(labeler, tensors, every=True)
    for place in (num_prompt - 2, num_prompt + 1, size - 1):
        changed = {**tensors, "input_ids": tensors["input_ids"].clone()}
        changed["input_ids"][0, place] = (changed["input_ids"][0, place] + 7) % 300
        moved = (logits_of(labeler, changed, every=True) - before).abs().amax(-1) > 1e-6
        if place < num_prompt:
            assert moved[: place - 3].any()
        else:
            assert not moved[:place].any()


@pytest.mark.parametrize("layout", ["bucketed", "packed"])
def test_batch_mates_change_nothing(tiny_writer_folder, layout):
    labeler = build(tiny_writer_folder)
    _, together = batch_of(labeler, layout)
    _, alone = batch_of(labeler, "packed", batch_tokens=16)
    rows = {alone.schedule[i][0]: logits_of(labeler, alone[i]) for i in range(len(alone))}
    for number, indices in enumerate(together.schedule):
        wanted = torch.cat([rows[i] for i in indices])
        torch.testing.assert_close(logits_of(labeler, together[number]), wanted, atol=1e-4, rtol=1e-4)
    assert max(map(len, together.schedule)) > 1


def test_answers_are_decoded_as_they_are_trained(tiny_writer_folder):
    """Key and values of a prompt under the plan, then the answer token by token: the logits of training."""
    labeler = build(tiny_writer_folder)
    lessons, batches = batch_of(labeler, "packed", batch_tokens=16)
    model = labeler.model.language.model.eval()
    plan = MaskPlan((None,) * 4)
    for number, (index,) in enumerate(batches.schedule):
        wanted = logits_of(labeler, batches[number])
        lesson = lessons[index]
        border = lesson.word_tokens[0][0] + 1
        prompt, answer = lesson.input_ids[:border], lesson.input_ids[border:-1]
        [(_, [past])] = list(encode_prompts(model, plan, [prompt]))
        assert past.num_tokens == len(prompt) - 1
        from transformers import DynamicCache

        cache = DynamicCache([(k[None], v[None]) for k, v in zip(past.keys, past.values, strict=True)])
        with torch.inference_mode(), under_plan(model, MaskPlan((0,) * 4)):
            ids = torch.tensor([[prompt[-1], *answer]])
            found = model(input_ids=ids, use_cache=True, **{cache_argument(model): cache}).logits[0]
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_predictions_do_not_depend_on_company_and_are_saved(tiny_writer_folder, tmp_path):
    labeler = build(tiny_writer_folder, method="icl")
    causal = build(tiny_writer_folder, None, method="icl")
    texts = ["Ada was in New York !", "fox", "the fox the fox the fox"]
    labeler.save_pretrained(tmp_path)
    loaded = GenerativeLabeler.from_pretrained(tmp_path, device="cpu", precision="fp32", merge=False)
    together = scores_of(labeler.predict(texts))
    assert together == pytest.approx(scores_of(p for text in texts for p in labeler.predict(text)), abs=1e-4)
    assert together == pytest.approx(scores_of(loaded.predict(texts)), abs=1e-4)
    assert together != pytest.approx(scores_of(causal.predict(texts)), abs=1e-4)
