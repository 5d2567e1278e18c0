"""Audits of tiny models: folds that resume, shared states, a saved labeler as judge, and the command line."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lookboth import cli
from lookboth.audit import out_of_fold
from lookboth.audit.auditing import audit_data, read_audited
from lookboth.audit.out_of_fold import probs_of_folds
from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError, DataError

NAMES, CITIES = ("Ann", "Bob", "Eve"), ("Oslo", "Rome", "Bonn", "Kiel")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Twelve sentences, one of which occurs twice and one of which has a wrong label."""
    path = tmp_path_factory.mktemp("audit") / "data.conll"
    pairs = [(name, city) for name in NAMES for city in CITIES]
    lines = [f"{name}\tB-PER\nsaw\tO\n{city}\tB-LOC\n" for name, city in [*pairs, pairs[0]]]
    lines[5] = lines[5].replace("B-LOC", "B-PER")
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def config(data, tiny_llama_folder):
    return parse_config(
        {
            "model": str(tiny_llama_folder),
            "data": {"train": str(data)},
            "max_tokens": 64,
            "overlap": 8,
            "adapter": {"layers": "top:1", "rank": 2},
            "training": {"epochs": 2, "lr": 1e-2, "precision": "fp32", "head_dropout": 0.0},
        }
    )


def test_shared_states_change_nothing_and_a_killed_audit_resumes(config, tmp_path, monkeypatch, progress):
    examples = read_audited(config).examples
    trained = []
    train_one = out_of_fold.train_one

    def kill(config, splits, seed, folder):
        trained.append(folder.parent.name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        seen = {example.words for example in (*splits.train, *splits.dev)}
        assert len(splits.train) + len(splits.dev) < len(examples)
        assert seen.isdisjoint(
            example.words for example in examples if example not in [*splits.train, *splits.dev]
        )
        return train_one(config, splits, seed, folder)

    monkeypatch.setattr(out_of_fold, "train_one", kill)
    with pytest.raises(KeyboardInterrupt):
        probs_of_folds(config, examples, tmp_path / "a", num_folds=2)
    found = probs_of_folds(config, examples, tmp_path / "a", num_folds=2)
    assert trained == ["fold-0", "fold-1", "fold-1"]
    assert any("states of the 3 frozen layers" in line for line in progress())
    monkeypatch.setattr(out_of_fold, "share_frozen_states", nullcontext)
    alone = probs_of_folds(config, examples, tmp_path / "b", num_folds=2)
    for one, other in zip(found.log_probs, alone.log_probs, strict=True):
        assert one.shape == (3, 5)
        assert np.allclose(one, other, atol=1e-4)
    assert not list((tmp_path / "a").rglob("*.safetensors"))
    with pytest.raises(DataError, match="run on other data"):
        probs_of_folds(config, examples, tmp_path / "a", num_folds=3)


def test_a_label_that_a_fold_lacks_is_improbable(config, tmp_path, data):
    examples = read_audited(config).examples
    probs = probs_of_folds(config, examples, tmp_path, num_folds=2)
    few = out_of_fold._in_order(probs, [*probs.tags, "B-NEW"])
    assert few[0].shape == (3, 6)
    assert np.allclose(np.exp(few[0][:, 5]), out_of_fold.LEAST)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "sift"}, "method"),
        ({"task": "classification"}, "task"),
        ({"head.kind": "open"}, "head.kind = 'open'"),
        ({"data.train": '["a", "b"]'}, "2 sources"),
        ({"training.folds": 3}, "training.folds.*--folds"),
    ],
)
def test_what_cannot_be_audited_is_refused(data, settings, message):
    overrides = [f"{key}={value}" for key, value in settings.items()]
    with pytest.raises(ConfigError, match=message):
        audit_data(parse_config({"data": {"train": str(data)}}, overrides), "never")


def test_a_saved_labeler_judges_unless_it_was_trained_on_the_data(
    config, data, tmp_path, tiny_llama_folder, caplog
):
    from tiny import tiny_labeler

    labeler = tiny_labeler(tiny_llama_folder)
    labeler.save_pretrained(tmp_path / "other")
    result = audit_data(config, tmp_path / "never", labeler=str(tmp_path / "other"))
    assert result.findings
    assert "must not have been trained on these data" in caplog.text
    assert not (tmp_path / "never").exists()
    labeler = tiny_labeler(tiny_llama_folder, labels=("LOC", "ORG"))
    labeler.save_pretrained(tmp_path / "orgs")
    with pytest.raises(ConfigError, match="does not know PER"):
        audit_data(config, tmp_path / "never", labeler=str(tmp_path / "orgs"))


def test_an_open_labeler_judges_with_the_descriptions_of_the_labels(config, tmp_path, tiny_llama_folder):
    from tiny import tiny_labeler

    tiny_labeler(tiny_llama_folder, head={"kind": "open"}).save_pretrained(tmp_path / "open")
    described = config.model_copy(update={"labels": {"PER": "a human being", "LOC": "a place on a map"}})
    scores = [
        [
            finding.score
            for finding in audit_data(one, tmp_path / "never", labeler=str(tmp_path / "open")).findings
        ]
        for one in (config, described)
    ]
    assert scores[0] != scores[1]


def test_the_command_writes_findings_and_a_page_and_applies_decisions(
    data, tmp_path, tiny_llama_folder, monkeypatch
):
    from tiny import tiny_labeler

    tiny_labeler(tiny_llama_folder).save_pretrained(tmp_path / "judge")
    before, out = data.read_bytes(), tmp_path / "out"
    base = ["audit", str(data), "--labeler", str(tmp_path / "judge"), "--out", str(out)]
    result = CliRunner().invoke(cli.app, base, catch_exceptions=False)
    assert "suggested:" in result.output
    findings = [json.loads(line) for line in (out / "findings.jsonl").read_text().splitlines()]
    page = (out / "review.html").read_text()
    assert page.count("<article") == len(findings)
    result = CliRunner().invoke(cli.app, [*base, "--format", "doccano"], catch_exceptions=False)
    assert '"label": [' in result.stdout
    header = json.loads(
        page.split('data-audit="')[1].split('"')[0].replace("&#34;", '"').replace("&quot;", '"')
    )
    file = tmp_path / "decisions.json"
    made = [{**finding, "decision": "accept"} for finding in findings]
    file.write_text(json.dumps({"audit": header, "decisions": made}))
    result = CliRunner().invoke(
        cli.app, ["audit", "--apply", str(file), "--out", str(out)], catch_exceptions=False
    )
    assert f"accept {len(findings)}, reject 0" in result.output
    assert (out / "corrected.conll").read_bytes() != before == data.read_bytes()
