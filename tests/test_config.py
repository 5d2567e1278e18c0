"""Recipes: what may stand in them, and what is said when something else does."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lookboth.config.recipe import RunConfig
from lookboth.config.recipe_files import document_keys, load_recipe, parse_config
from lookboth.errors import ConfigError

ROOT = Path(__file__).parent.parent
RECIPES = sorted(f for f in (ROOT / "recipes").glob("**/*.toml") if f.parent.name != "studies")
DATA = {"data": {"train": "wnut17"}}


def refused(values, overrides=(), **kwargs):
    with pytest.raises(ConfigError) as caught:
        parse_config(values, overrides, **kwargs)
    return str(caught.value)


def test_a_minimal_configuration_has_defaults():
    config = parse_config(DATA)
    assert config.data.train == ("wnut17",)
    assert (config.plan, config.training.seeds, config.adapter.kind) == (None, (0,), "lora")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_every_shipped_recipe_parses(recipe):
    config = load_recipe(recipe)
    assert RunConfig.model_validate(config.to_dict()) == config


def test_the_two_wnut17_recipes_differ_in_the_plan_only():
    causal, unmasked = (load_recipe(ROOT / "recipes" / f"wnut17_{name}.toml") for name in ("causal", "0011"))
    assert causal.plan != unmasked.plan
    assert causal.model_copy(update={"plan": unmasked.plan}) == unmasked


def test_ls_llama_and_ls_unllama_differ_in_plan_and_pooling_only():
    one, other = (
        load_recipe(ROOT / "recipes" / f"ls_{name}_banking77.toml") for name in ("llama", "unllama")
    )
    assert (one.plan, one.label_on, other.plan, other.label_on) == ("causal", "last", "full", "mean")
    assert one.model_copy(update={"plan": other.plan, "label_on": other.label_on}) == other


@pytest.mark.parametrize(
    ("section", "key", "meant"),
    [
        ("", "plans", "plan"),
        ("", "trainig", "training"),
        ("", "lr", "training.lr"),
        ("training", "epoch", "training.epochs"),
        ("adaptation", "epoch", "adaptation.epochs"),
        ("adaptation", "plans", "adaptation.plan"),
        ("adapter", "ranks", "adapter.rank"),
        ("data", "training", "training"),
    ],
)
def test_unknown_keys_are_refused_with_a_suggestion(section, key, meant):
    wrong = {section: {key: 1}} if section else {key: 1}
    values = {**DATA, **wrong} if section != "data" else {"data": {"train": "x", key: 1}}
    message = refused(values)
    assert f"unknown key '{section + '.' if section else ''}{key}'" in message
    assert f"Did you mean '{meant}'?" in message


@given(st.sampled_from([key for key, _, _ in document_keys()]), st.sampled_from(["zzzz", "q9", "xx_xx"]))
def test_no_section_takes_an_unknown_key(key, unknown):
    section = key.rpartition(".")[0]
    values = {"data": {"train": "x"}}
    (values.setdefault(section, {}) if section else values)[unknown] = 1
    message = refused(values)
    assert unknown in message
    assert "Did you mean" not in message


def test_a_dotted_key_in_a_dictionary_is_told_where_it_goes():
    assert "give {'training': {'epochs': ...}}" in refused({**DATA, "training.epochs": 2})


OUT_OF_RANGE = [
    "training.epochs=0",
    "training.epochs=inf",
    "training.lr=-1",
    "training.lr=nan",
    "training.lr=high",
    "training.warmup=1",
    "training.batch_tokens=3",
    "training.accumulation=0",
    "training.seeds=[]",
    "training.seeds=[1, 1]",
    "training.seeds=-1",
    "training.seeds=[0, 4294967296]",
    "training.schedule=step",
    "training.layout=padded",
    "training.patience=0",
    "training.precision=fp8",
    "adapter.kind=ia3",
    "adapter.rank=0",
    "adapter.dropout=1",
    "adapter.target_modules=3",
    "scheme=BILOU",
    "label_on=middle",
    "max_tokens=1",
    "overlap=-1",
    "overlap=256",
    "data.train=[]",
    "data.train=3",
    "data.max_train_sentences=0",
    "training=3",
]


@pytest.mark.parametrize("override", OUT_OF_RANGE)
def test_values_outside_their_range_are_refused_by_name(override):
    message = refused(DATA, [override])
    assert message.startswith(f"configuration: {override.partition('=')[0]} = ")
    assert "tuple" not in message


def test_all_problems_come_in_one_message():
    message = refused({"data": {"train": "x"}, "training": {"lr": -1, "epochs": 0}, "modle": "x"})
    for part in ("training.lr = -1", "training.epochs = 0", "unknown key 'modle'", "'model'"):
        assert part in message


def test_missing_data_is_named():
    assert "'data' is missing" in refused({})
    assert "'data.train' is missing" in refused({"data": {}})


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("training.lr=2e-4", "training.lr", 2e-4),
        ("training.seeds=[3, 4]", "training.seeds", (3, 4)),
        ("training.seeds=5", "training.seeds", (5,)),
        ("plan=0011", "plan", "0011"),
        ("plan=1100", "plan", "1100"),
        ("plan='0,0,4,*'", "plan", "0,0,4,*"),
        ("plan=0,0,4,*", "plan", "0,0,4,*"),
        ("model=some/name", "model", "some/name"),
        ("data.train=a.conll", "data.train", ("a.conll",)),
        ("data.repair=true", "data.repair", True),
        ("data.label_map.MISC=", "data.label_map", {"MISC": ""}),
        ("adapter.target_modules=q_proj", "adapter.target_modules", ("q_proj",)),
        ("adapter.target_modules=all-linear", "adapter.target_modules", "all-linear"),
        ("adapter.target_modules=['q_proj', 'v_proj']", "adapter.target_modules", ("q_proj", "v_proj")),
    ],
)
def test_overrides_need_no_quotes(override, path, value):
    config = parse_config(DATA, [override])
    for name in path.split("."):
        config = getattr(config, name)
    assert config == value


def test_later_overrides_win_and_the_values_given_stay_as_they_are():
    values = {"data": {"train": "x"}, "training": {"lr": 1e-4}}
    config = parse_config(values, ["training.lr=1e-3", "training.lr=1e-2"])
    assert config.training.lr == 1e-2
    assert values == {"data": {"train": "x"}, "training": {"lr": 1e-4}}


@pytest.mark.parametrize("override", ["training.lr", "=3", "training.lr.x=3"])
def test_overrides_that_cannot_be_read(override):
    assert "--set" in refused({**DATA, "training": {"lr": 1e-3}}, [override])


def test_windows_keep_words_to_label():
    assert "less than half of max_tokens (64)" in refused({**DATA, "max_tokens": 64})
    assert parse_config({**DATA, "max_tokens": 64, "overlap": 31}).overlap == 31


def test_recipe_errors_name_the_file(tmp_path):
    broken, wrong, latin = tmp_path / "broken.toml", tmp_path / "wrong.toml", tmp_path / "latin.toml"
    broken.write_text("model = ", encoding="utf-8")
    wrong.write_text("[data]\ntrain = 'x'\nsplit = 'y'\n", encoding="utf-8")
    latin.write_bytes("model = 'mod\xe8le'".encode("latin-1"))
    for path, part in (
        (broken, "not a TOML file"),
        (wrong, "unknown key 'data.split'"),
        (latin, "not a TOML file"),
        (tmp_path / "none.toml", "no such recipe"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_recipe(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert part in str(caught.value)


def test_configurations_survive_json():
    config = parse_config(DATA, ["training.seeds=[1, 2]", "data.label_map.A=B"])
    assert parse_config(config.to_dict()) == config


def test_every_key_is_documented():
    for key, default, description in document_keys():
        assert description.endswith("."), f"{key} needs a description that is a sentence"
        assert default, key


def test_the_page_on_recipes_is_up_to_date():
    script = ROOT / "docs" / "write_recipes.py"
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    renewed = runpy.run_path(str(script))["renewed"](page)
    assert page == renewed, "docs/recipes.md is behind lookboth.config; type: python docs/write_recipes.py"
    for key, _, _ in document_keys():
        assert f"| `{key}` |" in page


def test_reading_a_recipe_needs_no_torch():
    code = "import sys, lookboth.config; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0


@pytest.mark.parametrize(
    "key", ["training.lr", "training.epochs", "training.accumulation", "training.patience"]
)
def test_true_is_no_number(key):
    with pytest.raises(ConfigError, match=rf"{key} = True: true and false"):
        parse_config({"data": {"train": "wnut17"}}, [f"{key}=true"])
    with pytest.raises(ConfigError, match=r"training\.seeds"):
        parse_config({"data": {"train": "wnut17"}}, ["training.seeds=[true]"])
    assert parse_config({"data": {"train": "wnut17"}}, ["training.gradient_checkpointing=true"])
