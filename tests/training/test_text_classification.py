"""Classification of whole texts from data files to predictions, on tiny models."""

import importlib
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lookboth.cli import app
from lookboth.config.recipe_files import parse_config
from lookboth.data import ReadOptions
from lookboth.data.packing import build_batch
from lookboth.data.sources import read_source
from lookboth.data.whole_texts import tokenize_texts
from lookboth.errors import ConfigError, DataError, ModelError
from lookboth.evaluation.command import evaluate_on
from lookboth.evaluation.runfile import read_predictions, read_run
from lookboth.inference.pipeline import text_log_probs
from lookboth.labelers.labeler import Labeler
from lookboth.training.batches import tokenize_examples
from lookboth.training.labeler_building import build_labeler
from lookboth.training.training_runs import train
from lookboth.types import Example

FILLER = ("the", "word", "is", "read", "in", "a", "house")
CUES = {"speech": "said", "place": "near", "speed": "quick"}
TEXTS = ("the quick brown fox", "Ada", "isn't it  London?", "the word " * 60)


def write_data(folder, *, several):
    """Write texts in which a cue word somewhere in the text gives the label (each present cue one)."""
    rng = random.Random(0)
    for split, number in (("train", 120), ("dev", 40), ("test", 40)):
        lines = []
        for _ in range(number):
            labels = rng.sample(sorted(CUES), rng.randint(0, 2) if several else 1)
            words = [*rng.choices(FILLER, k=rng.randint(2, 6)), *(CUES[label] for label in labels)]
            rng.shuffle(words)
            lines.append(json.dumps({"text": " ".join(words), "labels": sorted(labels)}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def recipe(model, data="x", **settings):
    training = {"precision": "fp32", "epochs": 6, "lr": 5e-3, "batch_tokens": 128, "head_dropout": 0.0}
    base = {"model": str(model), "task": "classification", "data": {"train": str(data)}, "training": training}
    return parse_config({**base, "max_tokens": 64, "overlap": 8, **settings})


def untrained(folder, labels=("a", "b", "c"), **settings):
    torch.manual_seed(0)
    labeler = build_labeler(recipe(folder, **settings), labels=labels, device="cpu")
    labeler.model.eval()
    return labeler


@pytest.mark.parametrize("label_on", ["first", "last", "mean", "max"])
@pytest.mark.parametrize("plan", ["causal", "full"])
def test_each_pooling_is_what_it_says(tiny_llama_folder, label_on, plan):
    labeler = untrained(tiny_llama_folder, label_on=label_on, plan=plan)
    for text in TEXTS[:3]:
        ids = labeler.tokenizer(text)["input_ids"]  # a begin-of-sequence token, then the text
        with torch.no_grad():
            states = labeler.model.backbone(input_ids=torch.tensor([ids])).last_hidden_state[0, 1:]
            pooled = {"first": states[0], "last": states[-1], "mean": states.mean(0), "max": states.amax(0)}
            logits = labeler.model.head(pooled[label_on][None], torch.tensor([1]))[0]
        np.testing.assert_allclose(
            text_log_probs(labeler, [text])[0], torch.log_softmax(logits, -1).numpy(), atol=1e-5
        )


@pytest.mark.parametrize("label_on", ["last", "mean", "max"])
def test_batch_mates_and_packing_change_nothing(tiny_llama_folder, label_on):
    labeler = untrained(tiny_llama_folder, label_on=label_on, plan="full")
    together = text_log_probs(labeler, TEXTS)
    for text, log_probs in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(text_log_probs(labeler, [text])[0], log_probs, atol=1e-5)
    config = recipe(tiny_llama_folder, label_on=label_on, plan="full")
    examples = [Example(tuple(text.split()), text=text, text_labels=("a",)) for text in TEXTS]
    pieces = tokenize_examples(examples, labeler.encoder, tags=labeler.config.tags, config=config)
    losses = {}
    for layout in ("bucketed", "packed"):
        with torch.no_grad():
            losses[layout] = labeler.model(**build_batch(pieces, layout=layout).tensors())["loss"]
    torch.testing.assert_close(losses["bucketed"], losses["packed"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "multi_label"])
def test_a_long_text_is_the_average_of_its_windows(tiny_llama_folder, kind):
    labeler = untrained(tiny_llama_folder, label_on="mean", plan="full", head={"kind": kind})
    text = " ".join(FILLER * 20)
    pieces = tokenize_texts([text], labeler.encoder, label_on="mean", max_tokens=64, overlap=8)
    lengths = torch.tensor([end - first for piece in pieces for first, end in piece.word_tokens])
    ids = labeler.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(pieces) > 2 and lengths.sum() == len(ids) and len(lengths.unique()) > 1  # noqa: PT018
    with torch.no_grad():
        logits = torch.cat([labeler.model(**build_batch([piece]).tensors())["logits"] for piece in pieces])
    mean = (lengths[:, None] * logits).sum(0) / lengths.sum()
    wanted = torch.log_softmax(mean, -1) if kind == "linear" else torch.nn.functional.logsigmoid(mean)
    np.testing.assert_allclose(text_log_probs(labeler, [text])[0], wanted.numpy(), atol=1e-5)


def test_every_text_gets_a_label_even_an_empty_one(tiny_llama_folder):
    labeler = untrained(tiny_llama_folder)
    predictions = labeler.predict(["", "\n", "so \ud800 it is"])
    assert [p.text for p in predictions] == ["", "\n", "so \ud800 it is"]
    assert all(len(p.labels) == 1 and p.tags == p.spans == () for p in predictions)
    assert labeler.predict_words([["so", "it"]])[0].labels == labeler.predict("so it")[0].labels


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("linear", {"label_on": "last"}), ("linear", {"label_on": "max", "plan": "full"}),
     ("multi_label", {"label_on": "mean", "plan": "0011"})],
)  # fmt: skip
def test_a_toy_task_is_learned_and_comes_back_from_disk(tiny_llama_folder, tmp_path, kind, settings):
    data = write_data(tmp_path, several=kind == "multi_label")
    config = recipe(tiny_llama_folder, data, head={"kind": kind}, adapter={"kind": "full"}, **settings)
    (run,) = train(config, tmp_path / "run")
    scores = run.tests[str(data)].scores
    assert scores.headline > scores.majority + 0.3
    low, high = run.tests[str(data)].interval
    assert low <= scores.headline <= high
    stored = read_run(run.folder)
    assert stored.scores[f"test:{data}"]["accuracy"] == scores.accuracy
    texts = [
        example.text
        for example in read_source(str(data), options=ReadOptions(task="classification")).examples
    ]
    again = Labeler.from_pretrained(run.folder / "labeler", device="cpu", precision="fp32", merge=False)
    assert again.config == run.labeler.config
    assert [p.to_dict() for p in again.predict(texts)] == [p.to_dict() for p in run.labeler.predict(texts)]
    evaluation = evaluate_on(str(data), str(run.folder / "labeler"), out=tmp_path / "test", device="cpu")
    assert evaluation.scores.headline == pytest.approx(scores.headline)
    for record, prediction in zip(read_predictions(tmp_path / "test"), evaluation.predictions, strict=True):
        whole = {"start": 0, "end": len(record["words"])}
        assert all(whole.items() <= span.items() for span in (*record["gold"], *record["predicted"]))
        assert [span["label"] for span in record["predicted"]] == [n for n, _ in prediction.labels]
    card = (run.folder / "labeler" / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: text-classification" in card
    assert ("| Accuracy |" if kind == "linear" else "| micro F1 |").lower() in card.lower()


def test_the_command_line_trains_and_another_process_predicts(tiny_llama_folder, tmp_path):
    data = write_data(tmp_path, several=False)
    options = [
        "--task",
        "classification",
        "--data",
        data,
        "--model",
        tiny_llama_folder,
        "--out",
        tmp_path / "run",
    ]
    settings = ["training.epochs=1", "training.precision=fp32", "data.test=[]"]
    options += [part for setting in settings for part in ("--set", setting)]
    trained = CliRunner().invoke(app, ["train", *map(str, options)])
    assert "always " in trained.output
    assert "bootstrap interval of accuracy" in trained.output
    folder = tmp_path / "run" / "seed-0" / "labeler"
    (wanted,) = Labeler.from_pretrained(folder, device="cpu", precision="fp32", merge=False).predict(
        "the fox said"
    )
    command = [
        sys.executable,
        "-m",
        "lookboth.cli",
        "predict",
        "the fox said",
        "-m",
        str(folder),
        "-f",
        "jsonl",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--device", "cpu", "--precision", "fp32"], capture_output=True, check=True, env=environment
    )
    assert json.loads(done.stdout) == wanted.to_dict()


def test_several_labels_need_the_head_for_it(tiny_llama_folder, tmp_path):
    data = write_data(tmp_path, several=True)
    with pytest.raises(DataError, match=r"train\.jsonl:\d+: labels .*head\.kind = 'multi_label'"):
        train(recipe(tiny_llama_folder, data), tmp_path / "run")
    with pytest.raises(ConfigError, match="task = 'classification'"):
        recipe(tiny_llama_folder, task="labeling", head={"kind": "multi_label"})


def test_data_of_the_other_task_are_refused_with_what_to_type(tiny_llama_folder, tmp_path):
    config = recipe(tiny_llama_folder, "banking77_cls", task="labeling")
    with pytest.raises(DataError, match="set task = 'classification'"):
        train(config, tmp_path / "run")


def test_the_threshold_is_that_of_the_recipe(tiny_llama_folder):
    """A lower threshold gives more labels, never other ones."""
    found = {}
    for threshold in (0.01, 0.5, 0.99):
        head = {"kind": "multi_label", "threshold": threshold}
        labels = untrained(tiny_llama_folder, head=head).predict(TEXTS[0])[0].labels
        found[threshold] = {label for label, _ in labels}
        assert all(score >= threshold for _, score in labels)
    assert found[0.99] <= found[0.5] <= found[0.01] == {"a", "b", "c"}


def test_the_token_pipeline_says_what_to_use_instead(tiny_llama_folder, tmp_path):
    from transformers import pipeline

    # The import registers labelers with transformers.
    importlib.import_module("lookboth.integrations.transformers")
    untrained(tiny_llama_folder).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="labels whole texts, not tokens"):
        pipeline("token-classification", model=str(tmp_path))
