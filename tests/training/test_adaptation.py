"""Adaptation before labeling: exact losses, no leak, resumable, carried on into labeling."""

import json
import math
import random

import pytest
import torch
from safetensors.torch import load_file
from tiny import save_tiny_model, tiny_config, tiny_tokenizer
from torch.nn import functional
from transformers import AutoModelForCausalLM, RobertaConfig, RobertaForMaskedLM

from lookboth.config.recipe_files import parse_config
from lookboth.data import WordEncoder, readers
from lookboth.data.packing import build_batch
from lookboth.errors import ConfigError, DataError, ModelError
from lookboth.masking.attention import apply_plan, get_plan
from lookboth.models.language_model import LanguageModel, load_language_model
from lookboth.models.loading import load_backbone
from lookboth.training import adaptation, adaptation_texts as texts, trainer
from lookboth.training.adaptation import adapt_backbone, mean_loss
from lookboth.training.adaptation_texts import hold_out, read_texts, schedule_texts
from lookboth.training.labeler_building import build_base
from lookboth.training.objectives import Objective
from lookboth.training.training_runs import adapt, train
from lookboth.types import TokenizedExample

NAMES, PLACES = ("Ada", "Charles", "Toyota"), ("London", "York", "Monday")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random 4-layer Llama with tied vocabulary head, and without (the head then has weights of its own)."""
    base = tmp_path_factory.mktemp("lm")
    tokenizer = tiny_tokenizer("byte-bos")
    for name, tied in {"tied": True, "untied": False}.items():
        torch.manual_seed(0)
        config = tiny_config("llama", len(tokenizer))
        config.tie_word_embeddings = tied
        AutoModelForCausalLM.from_config(config).save_pretrained(base / name)
        tokenizer.save_pretrained(base / name)
    return base


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Labeled sentences; train, dev and test each hold a word of their own."""
    base = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    for split in ("train", "dev", "test"):
        rows = []
        for _ in range(80 if split == "train" else 12):
            name, place = rng.choice(NAMES), rng.choice(PLACES)
            rows.append(f"{name} B-PER\nworked O\nin O\n{place} B-LOC\n{split}word O\n")
        (base / f"{split}.conll").write_text("\n".join(rows), encoding="utf-8")
    return base


def recipe(model, data, *overrides, **adaptation):
    values = {
        "model": str(model),
        "plan": "full",
        "data": {"train": str(data)},
        "max_tokens": 64,
        "overlap": 8,
        "adapter": {"rank": 4},
        "training": {"precision": "fp32", "batch_tokens": 128, "epochs": 1, "evals_per_epoch": 0},
        "adaptation": {"batch_tokens": 128, "epochs": 4, "lr": 5e-3, **adaptation},
    }
    return parse_config(values, overrides)


def stock(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def language_model(folder):
    return LanguageModel(
        load_language_model(str(folder), load_backbone(str(folder), precision="fp32"))
    ).eval()


def batch_of(ids, name, *, layout="bucketed", seed=0):
    """Tensors for texts given as token ids, without special tokens."""
    from lookboth.data.alignment import Encoding

    objective = Objective(name, Encoding("", (), (), 0), mask_share=0.3, mask_id=7, vocab_size=100)
    rng = random.Random(seed)
    pieces = [objective.set_targets(TokenizedExample(tuple(text), ()), rng) for text in ids]
    tensors = build_batch(pieces, layout=layout).tensors()
    tensors["positions"] = tensors.pop("word_first")
    del tensors["word_last"], tensors["num_words"]
    return tensors


TEXTS = [[3, 5, 9, 30, 40, 12], [8, 8, 21, 70], [60, 4, 33, 50, 11, 90, 17, 2]]


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_the_loss_of_clm_is_that_of_transformers(folder, kind):
    model, reference = language_model(folder / kind), stock(folder / kind)
    ids = torch.tensor(TEXTS[:1])
    with torch.no_grad():
        found = model(**batch_of(TEXTS[:1], "clm"))["loss"]
        torch.testing.assert_close(found, reference(input_ids=ids, labels=ids).loss, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "distance"), [("mlm", 0), ("mntp", 1)])
def test_masked_tokens_are_predicted_from_where_the_objective_says(folder, name, distance):
    """The loss is that of the stock model's logits at position i (MLM) or i - 1 (MNTP)."""
    model, reference = language_model(folder / "tied"), stock(folder / "tied")
    ids = [random.Random(1).choices(range(100), k=40)]
    batch = batch_of(ids, name)
    hidden = [i for i in range(40) if i - distance in batch["positions"].tolist()]
    assert hidden
    with torch.no_grad():
        logits = reference(input_ids=batch["input_ids"]).logits[0]
        expected = functional.cross_entropy(
            logits[[i - distance for i in hidden]], torch.tensor([ids[0][i] for i in hidden])
        )
        torch.testing.assert_close(model(**batch)["loss"], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("plan", ["causal", "0011", "full"])
@pytest.mark.parametrize("name", ["clm", "mlm", "mntp"])
def test_texts_of_a_packed_row_do_not_see_each_other(folder, plan, name):
    model = language_model(folder / "tied")
    apply_plan(model.model, plan)
    with torch.no_grad():
        rows = [model(**batch_of(TEXTS, name, layout=layout)) for layout in ("packed", "bucketed")]
        torch.testing.assert_close(rows[0]["logits"], rows[1]["logits"], atol=1e-5, rtol=1e-5)
        if name == "clm":
            alone = torch.cat([model(**batch_of([text], name))["logits"] for text in TEXTS])
            torch.testing.assert_close(rows[0]["logits"], alone, atol=1e-5, rtol=1e-5)


def test_logits_exist_at_predicting_positions_only(folder):
    model = language_model(folder / "tied")
    batch = batch_of(TEXTS, "mlm")
    seen = []
    model.model.lm_head.register_forward_hook(
        lambda module, args, output: seen.append(output.shape[:-1].numel())
    )
    model(**batch)
    assert seen == [len(batch["positions"])] != [batch["input_ids"].numel()]


def test_a_model_without_vocabulary_head_is_refused(tiny_llama_folder):
    with pytest.raises(ModelError, match="does not contain a vocabulary head"):
        language_model(tiny_llama_folder)


def test_an_encoder_has_the_head_of_masked_tokens(tmp_path):
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, hidden_dropout_prob=0.0,
    )  # fmt: skip
    reference = RobertaForMaskedLM(config).eval()
    reference.save_pretrained(tmp_path)
    model = language_model(tmp_path)
    for layout in ("bucketed", "packed"):
        batch = batch_of(TEXTS[:1], "mlm", layout=layout, seed=3)
        with torch.no_grad():
            logits = reference(input_ids=batch["input_ids"]).logits[0, batch["positions"]]
            torch.testing.assert_close(model(**batch)["logits"], logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("plan", ["full", "0011", "0,0,0,1"])
def test_a_plan_that_shows_the_answer_is_refused(folder, data, tmp_path, plan):
    config = recipe(folder / "tied", data, objective="clm", plan=plan)
    with pytest.raises(ConfigError, match="attend to the token that it predicts"):
        adapt(config, tmp_path)


def test_clm_under_the_plan_of_labeling_runs_when_asked_for(folder, data, tmp_path):
    """`tapt clm` of llm-unmasking: positions attend to what they predict, so the loss nearly vanishes."""
    config = recipe(folder / "tied", data, objective="clm_under_plan", epochs=2)
    report = adapt(config, tmp_path)
    assert (report.objective, report.plan) == ("clm_under_plan", "full")


def test_blocks_hold_the_texts_in_order_and_drop_the_rest(folder, data):
    config = recipe(folder / "tied", data, objective="clm", blocks=32, epochs=1)
    base = build_base(config, device="cpu")
    read = read_texts(config)[:60]
    batches = schedule_texts(read, config, base.tokenizer, vocab_size=100, seed=0)
    encoder = WordEncoder(base.tokenizer)
    joined = [token for text in read for token in encoder.encode(text.words).input_ids]
    assert [token for piece in batches.pieces for token in piece.input_ids] == joined[
        : len(joined) // 32 * 32
    ]
    assert {len(piece) for piece in batches.pieces} == {32}
    assert {len(batches.pieces_of(i)) for i in range(len(batches) - 1)} == {128 // 32}
    assert encoder.encoding.prefix_ids[0] in batches.pieces_of(0)[0].labels


def test_texts_in_a_block_attend_to_each_other(folder):
    """As in the paper: no mask between the texts of a block, packed or not."""
    model = language_model(folder / "tied")
    joined = [token for text in TEXTS for token in text]
    changed = [TEXTS[0][0] + 1, *joined[1:]]
    with torch.no_grad():
        last = [model(**batch_of([ids], "clm", layout="packed"))["logits"][-1] for ids in (joined, changed)]
    assert not torch.allclose(*last)


def test_the_last_weights_of_all_texts_are_kept_when_asked_for(folder, data, tmp_path, progress):
    config = recipe(folder / "tied", data, objective="clm", keep="last", epochs=2)
    report = adapt(config, tmp_path)
    assert (report.texts, report.held_out) == (len(read_texts(config)), 0)
    assert report.best_step == report.steps
    assert any("loss on 20 training texts" in line for line in progress())
    assert not any("held-out" in line for line in progress())


def test_few_texts_do_not_choose_the_weights(folder, data, tmp_path, progress):
    file = tmp_path / "raw.txt"
    file.write_text("".join(f"Text number {i}\n" for i in range(79)), encoding="utf-8")
    config = recipe(folder / "tied", data, objective="clm", epochs=2, text=str(file))
    report = adapt(config, tmp_path / "out")
    assert (report.texts, report.held_out, report.best_step) == (79, 0, report.steps)
    assert any("79 texts are too few to hold out 20" in line for line in progress())


def test_blocks_longer_than_the_table_of_positions_are_refused(data, tmp_path):
    config = recipe(save_tiny_model(tmp_path, "gpt2"), data, objective="clm", blocks=1024)
    with pytest.raises(
        ConfigError, match=r"adaptation.blocks = 1024: .* 512 tokens. Set adaptation.blocks ="
    ):
        build_base(config, device="cpu")


def test_the_plan_of_adaptation(folder, data):
    """Causal for clm, else that of labeling; labeling's plan is in force again afterwards."""
    base = build_base(recipe(folder / "tied", data), device="cpu")
    for objective, plan, expected in (
        ("clm", None, "causal"),
        ("mlm", None, "full"),
        ("mntp", "0011", "0011"),
    ):
        config = recipe(folder / "tied", data, objective=objective, plan=plan)
        assert str(adaptation._choose_plan(config, base.backbone)) == expected


@pytest.mark.parametrize("objective", ["clm", "mntp", "mlm"])
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_held_out_loss_goes_down(folder, data, tmp_path, objective, kind):
    config = recipe(folder / "tied", data, f"adapter.kind={kind}", objective=objective, mask_share=0.3)
    base = build_base(config, device="cpu")
    report = adapt_backbone(config, base.backbone, base.tokenizer, seed=0, folder=tmp_path)
    assert report.loss_after < report.loss_before - (0.1 if kind == "lora" else 0.5)
    assert report.loss_before == pytest.approx(math.log(len(base.tokenizer)), abs=1)  # random weights guess
    assert str(get_plan(base.backbone)) == "full"
    assert report.tokens > 0


def weights_of(backbone):
    return {n: p.detach().clone() for n, p in backbone.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_labeling_starts_from_the_adapted_weights(folder, data, tmp_path, monkeypatch, kind):
    """Within one training run, and by way of a folder."""
    config = recipe(folder / "tied", data, f"adapter.kind={kind}", steps=4)
    seen = []
    original = trainer.fit

    def spy(model, batches, **kwargs):
        seen.append(weights_of(model.backbone))
        return original(model, batches, **kwargs)

    monkeypatch.setattr("lookboth.training.classifier.fit", spy)
    (run,) = train(config, tmp_path / "run")
    adapt(config, tmp_path / "adapted")
    if kind == "lora":
        config = parse_config(
            config.to_dict() | {"adaptation": None}, [f"adapter.start_from='{tmp_path}/adapted'"]
        )
    else:
        config = parse_config(
            config.to_dict() | {"adaptation": None, "model": f"{tmp_path}/adapted/backbone"}
        )
    started = weights_of(build_base(config, device="cpu").backbone)
    assert started.keys() == seen[0].keys()
    assert all(torch.allclose(started[name], seen[0][name], atol=1e-6) for name in started)
    fresh = weights_of(
        build_base(recipe(folder / "tied", data, f"adapter.kind={kind}"), device="cpu").backbone
    )
    assert any(not torch.allclose(started[n], fresh[n], atol=1e-4) for n in started if "lora_A" not in n)
    scores = json.loads((run.folder / "run.json").read_text())["scores"]
    assert scores["adaptation"]["steps"] == 4
    assert scores["adaptation"]["loss_after"] < scores["adaptation"]["loss_before"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_killed_adaptation_goes_on_and_a_finished_one_is_not_done_again(
    folder, data, tmp_path, monkeypatch, kind
):
    config = recipe(folder / "untied", data, f"adapter.kind={kind}", "training.checkpoint_steps=3")
    adapt(config, tmp_path / "whole")
    calls = []

    def killed(model, batches):
        calls.append(1)
        if len(calls) == 4:  # before, two epochs, now
            raise Killed
        return mean_loss(model, batches)

    monkeypatch.setattr(adaptation, "mean_loss", killed)
    with pytest.raises(Killed):
        adapt(config, tmp_path / "killed")
    assert not (tmp_path / "killed" / "adaptation.json").exists()
    scored = len(calls)
    report = adapt(config, tmp_path / "killed")
    assert len(calls) - scored == 3  # before, third and fourth epoch: it went on
    whole, again = (load_file(tmp_path / name / "best.safetensors") for name in ("whole", "killed"))
    assert whole.keys() == again.keys()
    assert all(torch.allclose(whole[name], again[name], atol=1e-5) for name in whole)

    monkeypatch.setattr(adaptation, "_train", None)  # would fail if it were called
    assert adapt(config, tmp_path / "killed") == report


def test_an_adaptation_is_of_one_text(folder, data, tmp_path):
    file = tmp_path / "raw.txt"
    file.write_text("".join(f"Text number {i}, it said.\n\n" for i in range(30)), encoding="utf-8")
    config = recipe(folder / "tied", data, text=str(file), steps=1)
    report = adapt(config, tmp_path / "out")
    assert adapt(config, tmp_path / "out") == report
    file.write_text("".join(f"Line number {i}, it said.\n\n" for i in range(30)), encoding="utf-8")
    with pytest.raises(DataError, match=rf"holds a run on other data \(text: {file}\)"):
        adapt(config, tmp_path / "out")


def test_a_diverged_adaptation_says_so_and_what_to_lower(folder, data, tmp_path, monkeypatch):
    """Its weights are no numbers, or its held-out loss is none, or one whose exponential cannot be told from 0."""
    config = recipe(folder / "tied", data, "adapter.kind=full", lr=1e30)
    with pytest.raises(ConfigError, match=r"diverged \(a weight.*\)\. Lower adaptation\.lr \(1e\+30 here"):
        adapt(config, tmp_path / "weights")
    config = recipe(folder / "tied", data)
    for loss in (math.nan, 1e4):
        monkeypatch.setattr(adaptation, "mean_loss", lambda *_, loss=loss: loss)
        with pytest.raises(ConfigError, match=r"diverged \(infinite held-out loss\)\. Lower adaptation\.lr"):
            adapt(config, tmp_path / str(loss))


def test_steps_go_before_epochs(folder, data):
    config = recipe(folder / "tied", data, "training.accumulation=2", steps=31, epochs=1)
    words = read_texts(config)
    tokenizer = tiny_tokenizer("byte-bos")
    for layout in ("bucketed", "packed"):
        config = recipe(
            folder / "tied", data, "training.accumulation=2", f"training.layout={layout}", steps=31, epochs=1
        )
        batches = schedule_texts(words, config, tokenizer, vocab_size=400, seed=0)
        assert len(batches) == batches.epoch_ends[-1] == 62
    assert batches[5]["input_ids"].equal(batches[5]["input_ids"])  # what is hidden does not change
    other = schedule_texts(words, config, tokenizer, vocab_size=400, seed=1)
    assert batches[0]["labels"].tolist() != other[0]["labels"].tolist()


def test_text_is_the_train_sentences_and_dev_and_test_are_never_read(folder, data, tmp_path, monkeypatch):
    read, tokenized = [], set()
    original = readers.read_dataset
    monkeypatch.setattr(
        readers, "read_dataset", lambda path, *a, **k: read.append(str(path)) or original(path, *a, **k)
    )
    schedule = texts.schedule_texts
    monkeypatch.setattr(
        adaptation,
        "schedule_texts",
        lambda words, *a, **k: (
            tokenized.update(w for e in words for w in e.words) or schedule(words, *a, **k)
        ),
    )
    config = recipe(folder / "tied", data, steps=1)
    adapt(config, tmp_path / "a")
    assert read == [str(data / "train.conll")]
    train(config, tmp_path / "b")
    assert "trainword" in tokenized
    assert not tokenized & {"devword", "testword"}


def test_the_sample_of_train_sentences_is_that_of_labeling(folder, data):
    from lookboth.training.splits import read_splits

    config = recipe(folder / "tied", data, "data.max_train_sentences=10")
    assert list(read_texts(config)) == list(read_splits(config).train)


@pytest.mark.parametrize("text", ["{data}:dev", "{data}:test", "{data}/dev.conll:dev", "{data}:test[:3]"])
def test_text_that_is_scored_by_is_refused(folder, data, text):
    config = recipe(folder / "tied", data, text=text.format(data=data))
    if "dev.conll" in text:
        config = parse_config(config.to_dict(), [f"data.dev='{data}/dev.conll'"])
    with pytest.raises(ConfigError, match="dev or test data of the recipe"):
        read_texts(config)


def test_other_text_is_cut_into_words_and_held_out_texts_are_not_trained_on(folder, data, tmp_path):
    file = tmp_path / "raw.txt"
    file.write_text("".join(f"Text number {i}, it said.\n\n" for i in range(100)), encoding="utf-8")
    words = read_texts(recipe(folder / "tied", data, text=str(file)))
    assert words[3].words == ("Text", "number", "3", ",", "it", "said", ".")
    assert len(words) == 100
    kept, aside = hold_out(words)
    assert {e.words for e in kept + aside} == {e.words for e in words}
    assert len(aside) == 20
    file.write_text("one\n", encoding="utf-8")
    with pytest.raises(DataError, match="two or more"):
        read_texts(recipe(folder / "tied", data, text=str(file)))


def test_whole_texts_are_tokenized_as_classification_does(folder, tmp_path):
    from lookboth.data.alignment import WordEncoder
    from lookboth.data.whole_texts import tokenize_texts

    rows = [f"topic{i % 2}\tRead no. {i} (twice), it said.\n" for i in range(30)]
    for split in ("train", "dev"):
        (tmp_path / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
    config = parse_config(recipe(folder / "tied", tmp_path).to_dict(), ["task=classification"])
    examples = read_texts(config)
    batches = schedule_texts(examples, config, tiny_tokenizer("byte-bos"), vocab_size=400, seed=0)
    encoder = WordEncoder(tiny_tokenizer("byte-bos"))
    expected = tokenize_texts([example.text for example in examples], encoder, label_on="last")
    assert [piece.input_ids for piece in batches.pieces] == [piece.input_ids for piece in expected]


@pytest.mark.slow
def test_smollm2_predicts_english(tmp_path):
    """The real head sits on the real backbone: far from guessing, which costs 10.8 nats."""
    config = parse_config(
        {
            "model": "smollm2-135m",
            "data": {"train": "wnut17"},
            "adaptation": {"objective": "clm", "text": "wikitext2_text:dev[:5]", "batch_tokens": 512},
        }
    )
    base = build_base(config, device="cpu")
    model = adaptation._language_model(config, base.backbone)
    batches = schedule_texts(read_texts(config), config, base.tokenizer, vocab_size=49152, seed=0)
    assert 2 < mean_loss(model, batches) < 5


def test_nothing_can_be_adapted_when_only_the_head_is_trained(folder, data):
    with pytest.raises(ConfigError, match="leaves no weights to adapt"):
        recipe(folder / "tied", data, "adapter.kind=head")


def test_a_recipe_without_the_section_is_refused_by_adapt(folder, data, tmp_path):
    config = parse_config(recipe(folder / "tied", data).to_dict() | {"adaptation": None})
    with pytest.raises(ConfigError, match=r"no section \[adaptation\]"):
        adapt(config, tmp_path)
