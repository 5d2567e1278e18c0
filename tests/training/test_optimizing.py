"""Optimizers, learning rates, fp16 and averages: each key of a recipe does what it says, also after a kill."""

import math

import pytest
import torch
from test_trainer import (
    accuracy,
    assert_equal_weights,
    make_batches,
    make_config,
    right_word_decides,
    trained_weights,
)
from tiny import tiny_labeler
from transformers import TrainerCallback

from lookboth import Labeler
from lookboth.config.recipe_files import parse_config
from lookboth.config.training_sections import AdapterConfig
from lookboth.errors import ConfigError, ModelError
from lookboth.inference.pipeline import word_log_probs
from lookboth.labelers.merging import merge_labeler
from lookboth.labelers.reading_back import read_back
from lookboth.models.loading import fingerprint, load_backbone
from lookboth.training import optimizing, trainer
from lookboth.training.adapters import add_adapter
from lookboth.training.averaging import Averager
from lookboth.training.training_runs import train as train_recipe

EXAMPLES = right_word_decides(60)


@pytest.fixture
def seen(monkeypatch):
    """The Trainer of the last `fit`, and the learning rate of each group after every step."""
    found = {"rates": []}

    class Look(TrainerCallback):
        def on_step_begin(self, args, state, control, optimizer=None, **_):
            found["rates"].append([group["lr"] for group in optimizer.param_groups])

    class Spied(optimizing.GroupedTrainer):
        def __init__(self, **kwargs):
            super().__init__(**{**kwargs, "callbacks": [*kwargs["callbacks"], Look()]})
            found["trainer"] = self

    monkeypatch.setattr(trainer, "GroupedTrainer", Spied)
    return found


def fit(labeler, folder, adapter=None, score=None, until=1.0, **training):
    config = make_config(**{"epochs": 2, **training})
    batches = make_batches(labeler, EXAMPLES, config)
    return trainer.fit(
        labeler.model,
        batches,
        config=config.training,
        seed=0,
        folder=folder,
        score_dev=score or (lambda: accuracy(labeler, EXAMPLES[:10])),
        until=until,
        adapter=adapter,
    )


def optimizer_of(seen):
    return seen["trainer"].optimizer.optimizer


@pytest.mark.parametrize(
    ("name", "bits"),
    [("adamw_torch", None), ("adamw_8bit", 8), ("paged_adamw_8bit", 8), ("paged_adamw_32bit", 32)],
)
@pytest.mark.filterwarnings("error:Paged")
def test_the_optimizer_is_the_named_one_with_its_settings(tiny_llama_folder, tmp_path, seen, name, bits):
    if bits:
        pytest.importorskip("bitsandbytes")
    labeler = tiny_labeler(tiny_llama_folder, plan="full")
    before = trained_weights(labeler)
    fit(labeler, tmp_path, optimizer=name, betas=[0.9, 0.95], eps=1e-5, weight_decay=0.1)
    optimizer = optimizer_of(seen)
    assert ("bitsandbytes" in type(optimizer).__module__) == bool(bits)
    if bits:
        assert (optimizer.args.optim_bits, optimizer.is_paged) == (bits, "paged" in name)
    for group in optimizer.param_groups:
        assert (tuple(group["betas"]), group["eps"]) == ((0.9, 0.95), 1e-5)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.1, 0.0}
    assert any(not torch.equal(before[n], p) for n, p in trained_weights(labeler).items())


def test_an_optimizer_that_is_not_installed_is_named(tiny_llama_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(optimizing, "find_spec", lambda name: None)
    labeler = tiny_labeler(tiny_llama_folder)
    with pytest.raises(ConfigError, match=r"training\.optimizer = 'adamw_8bit': needs bitsandbytes"):
        fit(labeler, tmp_path, optimizer="adamw_8bit")


def test_head_and_b_matrices_have_their_own_rates(tiny_llama_folder, tmp_path, seen):
    labeler = tiny_labeler(tiny_llama_folder, plan="full")
    names = {id(p): n for n, p in labeler.model.named_parameters()}
    fit(labeler, tmp_path, AdapterConfig(lora_plus=16), lr=1e-4, head_lr=5e-3)
    rates = {names[id(p)]: group["lr"] for group in optimizer_of(seen).param_groups for p in group["params"]}
    assert rates.keys() == {n for n, p in labeler.model.named_parameters() if p.requires_grad}
    for name, rate in rates.items():
        expected = 5e-3 if name.startswith("head.") else 16e-4 if "lora_B" in name else 1e-4
        assert rate == pytest.approx(expected), name


def test_rates_of_groups_are_what_alone_would_be(tiny_llama_folder, tmp_path):
    """A head with the rate of all is a run without the key."""
    weights = []
    for own in ({}, {"head_lr": 5e-3}):
        labeler = tiny_labeler(tiny_llama_folder, plan="full")
        fit(labeler, tmp_path / str(len(own)), lr=5e-3, **own)
        weights.append(trained_weights(labeler))
    assert_equal_weights(*weights)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_rate_ends_at_its_floor(tiny_llama_folder, tmp_path, seen, schedule):
    labeler = tiny_labeler(tiny_llama_folder)
    fit(labeler, tmp_path, schedule=schedule, lr=2e-4, lr_end=1.7e-4, head_lr=4e-4, epochs=4)
    steps = len(seen["rates"])
    for number, rates in enumerate(seen["rates"]):
        done = number / steps
        left = 1 - done if schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
        expected = 1.7e-4 + 0.3e-4 * left
        assert [min(rates), max(rates)] == pytest.approx([expected, 2 * expected])
    assert optimizer_of(seen).param_groups[0]["lr"] == pytest.approx(1.7e-4)


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"lr_end": 1e-3}, r"training\.lr_end = 0\.001: must be below lr"),
        (
            {"lr_end": 1e-5, "schedule": "constant"},
            r"training\.lr_end = 1e-05: schedule = .constant. does not change the rate",
        ),
        ({"betas": [0.9, 1.0]}, r"training\.betas = .*: must be two numbers from 0 to below 1"),
        ({"ema": 0.9, "average_evals": 2}, r"training\.average_evals = 2: cannot be combined with ema"),
        ({"optimizer": "lion"}, "training.optimizer"),
    ],
)
def test_values_that_mean_nothing_are_refused(training, said):
    with pytest.raises(ConfigError, match=said):
        parse_config({"data": {"train": "x"}, "training": training})


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ({"kind": "full", "rslora": True}, r"adapter\.rslora = True: applies to LoRA pairs"),
        ({"kind": "head", "lora_plus": 16}, r"adapter\.lora_plus = 16: applies to LoRA pairs"),
        (
            {"kind": "lora", "double_quant": False},
            r"adapter\.double_quant = False: applies only to 4-bit weights",
        ),
    ],
)
def test_keys_of_other_adapters_are_refused(adapter, said):
    with pytest.raises(ConfigError, match=said):
        parse_config({"data": {"train": "x"}, "adapter": adapter})


def recipe(folder, tmp_path, **sections):
    lines = []
    for example in EXAMPLES:
        tags = ["O"] * len(example.words)
        for span in example.spans:
            tags[span.start] = f"B-{span.label}"
        lines += [f"{word} {tag}" for word, tag in zip(example.words, tags, strict=True)] + [""]
    file = tmp_path / "data.conll"
    file.write_text("\n".join(lines))
    data = {"train": str(file), "dev": str(file), "test": []}
    training = {"epochs": 1, "precision": "fp32", "batch_tokens": 128, **sections.pop("training", {})}
    return parse_config(
        {"model": str(folder), "data": data, "training": training, "plan": "full", **sections}
    )


@pytest.mark.parametrize(
    "adapter",
    [
        {"rslora": True, "rank": 4},
        {"dora": True},
        {"init": "gaussian"},
        {"init": "orthogonal"},
        {"dora": True, "rslora": True, "lora_plus": 16, "init": "gaussian"},
    ],
    ids=str,
)
def test_a_variant_of_lora_is_trained_saved_reloaded_and_started_from(tiny_llama_folder, tmp_path, adapter):
    config = recipe(tiny_llama_folder, tmp_path, adapter=adapter)
    (run,) = train_recipe(config, tmp_path / "run")
    modules = dict(run.labeler.model.named_modules())
    layer = next(module for name, module in modules.items() if name.endswith("0.self_attn.q_proj"))
    root = adapter.get("rank", 16) ** 0.5
    assert layer.scaling["default"] == pytest.approx(32 / root if adapter.get("rslora") else 2)
    assert bool(layer.lora_magnitude_vector) == adapter.get("dora", False)
    loaded = Labeler.from_pretrained(run.folder / "labeler", device="cpu", precision="fp32", merge=False)
    assert_equal_weights(
        {n: p for n, p in loaded.model.named_parameters() if "lora_" in n},
        {n: p for n, p in run.labeler.model.named_parameters() if "lora_" in n},
    )
    merged = Labeler.from_pretrained(run.folder / "labeler", device="cpu", precision="fp32", merge=True)
    words = [example.words for example in EXAMPLES[:5]]
    scores = [
        [s.score for p in one.predict_words(words) for s in p.spans] for one in (run.labeler, loaded, merged)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert scores[0] == pytest.approx(scores[2], abs=1e-4)
    again = AdapterConfig(**adapter, start_from=str(run.folder / "labeler"))
    add_adapter(load_backbone(str(tiny_llama_folder), precision="fp32"), again)
    if adapter.get("rslora"):
        with pytest.raises(ModelError, match=r"was trained with rslora true.*Set adapter\.rslora = true"):
            add_adapter(
                load_backbone(str(tiny_llama_folder), precision="fp32"),
                again.model_copy(update={"rslora": False}),
            )


class TestHalfPrecision:
    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    @pytest.mark.parametrize("adapter", [{}, {"dora": True}], ids=str)
    def test_lora_pairs_are_trained_in_fp32(self, tiny_llama_folder, precision, adapter):
        backbone = load_backbone(str(tiny_llama_folder), precision=precision)
        model = add_adapter(backbone, AdapterConfig(**adapter))
        assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}

    def test_fp16_scales_losses_and_learns(self, tiny_llama_folder, tmp_path, seen):
        labeler = tiny_labeler(tiny_llama_folder, plan="full", adapter="full")
        labeler.model.compute_dtype = torch.float16
        history = fit(labeler, tmp_path, precision="fp16", epochs=10)
        assert seen["trainer"].accelerator.scaler.get_scale() >= 1024
        assert history.best_score > 0.8
        assert (
            type(labeler.model).forward == labeler.model.forward.__func__
        )  # not wrapped in another autocast

    def test_scaled_gradients_are_those_of_fp32(self, tiny_llama_folder, tmp_path):
        """Loss scaling must be undone before clipping: else every step has the largest allowed norm."""
        weights = []
        for precision in ("fp32", "fp16"):
            labeler = tiny_labeler(tiny_llama_folder, plan="full", adapter="full")
            fit(
                labeler,
                tmp_path / precision,
                precision=precision,
                clip=1e-3,
                optimizer="adamw_torch",
                eps=1.0,
            )
            weights.append(trained_weights(labeler))  # computed in fp32 both times
        assert_equal_weights(*weights)

    def test_a_labeler_trained_in_fp16_is_saved_and_reloaded_in_it(self, tiny_llama_folder, tmp_path):
        config = recipe(tiny_llama_folder, tmp_path, training={"precision": "fp16", "lr": 5e-3})
        (run,) = train_recipe(config, tmp_path / "run")
        assert run.labeler.model.compute_dtype == torch.float16
        frozen = {
            p.dtype for n, p in run.labeler.model.named_parameters() if "layers" in n and "lora" not in n
        }
        assert frozen == {torch.float16}
        words = [example.words for example in EXAMPLES[:5]]
        merged = merge_labeler(
            Labeler.from_pretrained(run.folder / "labeler", device="cpu", precision="fp16")
        )
        merged.save_pretrained(tmp_path / "merged")
        read_back(merged, tmp_path / "merged")
        for precision in ("fp16", "fp32"):
            loaded = Labeler.from_pretrained(
                run.folder / "labeler", device="cpu", precision=precision, merge=False
            )
            pairs = zip(loaded.predict_words(words), run.labeler.predict_words(words), strict=True)
            assert all(left.tags == right.tags for left, right in pairs)

    def test_the_fingerprint_does_not_depend_on_the_precision(self, tiny_llama_folder):
        found = {
            fingerprint(load_backbone(str(tiny_llama_folder), precision=precision))
            for precision in ("fp32", "bf16", "fp16")
        }
        assert len(found) == 1


class TestAverages:
    def test_an_exponential_average_is_scored_and_kept(self, tiny_llama_folder, tmp_path):
        labeler = tiny_labeler(tiny_llama_folder, plan="full")
        steps, averages = [], {}

        def score():
            steps.append(trained_weights(labeler))
            return 0.1 * len(steps)

        original = Averager.on_step_end

        def follow(self, args, state, control, optimizer=None, **kwargs):
            original(self, args, state, control, optimizer=optimizer, **kwargs)
            decay = min(0.9, (1 + state.global_step) / (10 + state.global_step))
            for name, weight in trained_weights(labeler).items():
                last = averages.get(name, weight)
                averages[name] = decay * last + (1 - decay) * weight

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Averager, "on_step_end", follow)
            fit(labeler, tmp_path, ema=0.9, score=score, epochs=3)
        assert_equal_weights(trained_weights(labeler), averages)
        assert_equal_weights(steps[-1], averages)

    def test_the_mean_of_the_last_evaluations_is_scored_and_kept(self, tiny_llama_folder, tmp_path):
        plain, averaged = [], []
        for kept, options in ((plain, {}), (averaged, {"average_evals": 2})):
            labeler = tiny_labeler(tiny_llama_folder, plan="full")
            fit(
                labeler,
                tmp_path / str(len(options)),
                epochs=3,
                score=lambda labeler=labeler, kept=kept: (
                    kept.append(trained_weights(labeler)) or 0.1 * len(kept)
                ),
                **options,
            )
        assert_equal_weights(averaged[0], plain[0])
        for number in (1, 2):
            mean = {n: (plain[number - 1][n] + plain[number][n]) / 2 for n in plain[0]}
            assert_equal_weights(averaged[number], mean)
        assert_equal_weights(trained_weights(labeler), averaged[2])

    @pytest.mark.parametrize("options", [{"ema": 0.9}, {"average_evals": 2}, {"precision": "fp16"}], ids=str)
    @pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_8bit"])
    def test_a_run_that_goes_on_ends_as_one_in_one_go(self, tiny_llama_folder, tmp_path, options, optimizer):
        if optimizer == "adamw_8bit":
            pytest.importorskip("bitsandbytes")
        weights = []
        for parts in ((1.0,), (0.5, 1.0)):
            labeler = tiny_labeler(tiny_llama_folder, plan="full", adapter="full")
            calls = []
            for until in parts:
                if until == 1.0 and len(parts) > 1:
                    labeler = tiny_labeler(tiny_llama_folder, plan="full", adapter="full")
                fit(
                    labeler,
                    tmp_path / str(len(parts)),
                    epochs=4,
                    until=until,
                    optimizer=optimizer,
                    score=lambda calls=calls: calls.append(1) or 0.1 * len(calls),
                    **options,
                )
            weights.append(trained_weights(labeler))
        assert_equal_weights(*weights, atol=1e-5)


def test_batches_of_sentences_are_of_one_size_and_not_sorted(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder)
    batches = make_batches(labeler, EXAMPLES, make_config(epochs=2, batch_sentences=8))
    assert [len(batch) for batch in batches.schedule] == [8] * 7 + [4] + [8] * 7 + [4]
    assert sorted(i for batch in batches.schedule[:8] for i in batch) == list(range(60))
    assert batches.schedule[:8] != batches.schedule[8:]
    lengths = [[len(batches.pieces[i]) for i in batch] for batch in batches.schedule]
    assert sum(max(row) - min(row) for row in lengths) > 2 * len(lengths)


def test_the_epoch_is_chosen_by_the_lowest_dev_loss(tiny_llama_folder, tmp_path, progress):
    config = recipe(tiny_llama_folder, tmp_path, training={"epochs": 3, "choose_by": "loss", "lr": 5e-3})
    (run,) = train_recipe(config, tmp_path / "run")
    assert any("lowest dev loss" in line for line in progress())
    assert all(0 < score < 1 for score in run.history.scores)
    assert run.history.best_score == max(run.history.scores)
    examples = run.dev.examples
    tags = run.labeler.config.tags
    log_probs = word_log_probs(run.labeler, [example.words for example in examples])
    gold = []
    for example, row in zip(examples, log_probs, strict=True):
        found = ["O"] * len(example.words)
        for span in example.spans:
            found[span.start] = f"B-{span.label}"
        gold += [row[i][tags.index(tag)] for i, tag in enumerate(found)]
    assert run.history.best_score == pytest.approx(math.exp(sum(gold) / len(gold)), rel=1e-3)
