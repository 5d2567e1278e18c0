"""Recipes: what may stand in them, and what is said when something else does."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, strategies as st

from lookboth.config.allowed_names import AnswerFormat, HeadKind, MethodName, StrategyName
from lookboth.config.method_rules import require_supported
from lookboth.config.recipe import RunConfig
from lookboth.config.recipe_files import document_keys, load_recipe, parse_config, parse_section
from lookboth.config.training_sections import HeadConfig
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
    require_supported(config)


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
        (latin, "is not UTF-8 text"),
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


WRONG_NAMES = [
    ("head.kind=crff", "crf"),
    ("method=instruction-tuning", "instruction_tuning"),
    ("search.strategy=layer", "layers"),
    ("generative.format=Jsn", "json"),
    ("training.optimizer=adamw", "adamw_8bit"),
    ("adapter.kind=LoRA", "lora"),
    ("adapter.init=ortogonal", "orthogonal"),
    ("head.layers=mixed", "mix"),
    ("task=label", "labeling"),
    ("plan=casual", "causal"),
    ("train_plan=ful", "full"),
    ("adapter.layers=midle", "middle"),
    ("adaptation.plan=Casual", "causal"),
    ("generative.prompt_plan=fulll", "full"),
]


@pytest.mark.parametrize(("override", "meant"), WRONG_NAMES)
def test_a_wrong_name_is_refused_with_what_is_allowed_and_the_closest_name(override, meant):
    message = refused(DATA, [override])
    assert message.startswith(f"configuration: {override.partition('=')[0]} = ")
    assert "llowed" in message
    assert f"Did you mean '{meant}'?" in message
    assert ".." not in message.replace("...", "")


UNREADABLE_PLANS = (
    "0012",
    "top:0",
    "top:x",
    "8-",
    "5-3",
    "1,x,*",
    "*",
    "",
    "9" * 25,
    "0-99999",
    "9999999999,",
)


@pytest.mark.parametrize("key", ["plan", "train_plan", "adaptation.plan", "generative.prompt_plan"])
@pytest.mark.parametrize("plan", UNREADABLE_PLANS)
def test_an_unreadable_plan_is_refused_before_a_model_is_there(key, plan):
    assert refused(DATA, [f"{key}='{plan}'"]).startswith(f"configuration: {key} = '{plan}': ")


@pytest.mark.parametrize("layers", ["causal", "0000", "0,4,*", "0,1", "topp:3", "3-1"])
def test_text_that_names_no_layers_is_refused_for_an_adapter(layers):
    assert refused(DATA, [f"adapter.layers='{layers}'"]).startswith("configuration: adapter.layers = ")


@pytest.mark.parametrize("plan", ["0011", "top:30", "8-31", "0-3,8-11", "0,0,4,*", "7,", "Middle", "1" * 99])
def test_every_notation_of_a_plan_is_accepted_without_a_model(plan):
    assert parse_config(DATA, [f"plan='{plan}'"]).plan == plan


def test_candidates_of_a_search_are_plans_with_repetition():
    wanted = ("0011", "causal+sr1", "top:8")
    assert parse_config(DATA, [f"search.candidates={list(wanted)}"]).search.candidates == wanted
    for wrong in ("0012", "causal+sr", "causal+sr17", "causal+sr1+sr1"):
        assert wrong in refused(DATA, [f"search.candidates=['0011', '{wrong}']"])


@pytest.mark.parametrize(("key", "value"), [("scheme", "IOB9"), ("encoding", "utf-9")])
def test_how_files_are_read_is_checked_with_the_recipe(key, value):
    assert f"data.{key} = '{value}': " in refused(DATA, [f"data.{key}={value}"])


def test_the_names_a_recipe_allows_are_the_keys_of_the_registries():
    """The registries stand above config in the import order, so their names are declared twice."""
    from lookboth.generative.codecs.codec_registry import CODECS
    from lookboth.models.heads.head_registry import HEADS
    from lookboth.search.strategies import STRATEGIES
    from lookboth.training.training_methods import METHODS

    for names, registry in (
        (HeadKind, HEADS),
        (MethodName, METHODS),
        (StrategyName, STRATEGIES),
        (AnswerFormat, CODECS),
    ):
        assert set(get_args(names)) == set(registry)


@pytest.mark.parametrize("override", ["training.lr", "=3", " =3"])
def test_recipe_and_server_read_settings_alike(override):
    from lookboth.serving.settings import parse_settings

    with pytest.raises(ConfigError, match="expected key=value"):
        parse_settings([override])
    assert "expected key=value" in refused(DATA, [override])
    with pytest.raises(ConfigError, match=r"unknown key\. Did you mean 'wait_ms'\? Keys: text_chars"):
        parse_settings(["wait_m=3"])


def test_a_saved_section_is_explained_like_a_recipe():
    with pytest.raises(ConfigError, match=r"^head.kind = 'tree': allowed are linear, crf, .*\."):
        parse_section(HeadConfig, {"kind": "tree"}, "head")
    with pytest.raises(ConfigError, match=r"unknown key 'head.kinds'. Did you mean 'head.kind'"):
        parse_section(HeadConfig, {"kinds": "crf"}, "head")


@pytest.mark.parametrize(
    ("method", "override", "message"),
    [
        ("sift", "plan=full", "causal"),
        ("sift", "repetition=1", "has read the whole text"),
        ("sift", "training.cache_frozen=true", "only labelers with a head"),
        ("sift", "adaptation.objective=clm", "lookboth adapt RECIPE --out DIR"),
        ("sift", "adapter.kind=head", "no head to train"),
        ("icl", "adapter.start_from=runs/adapted", "no adapter is used"),
        ("icl", "task=classification", "do not label whole texts"),
        ("sift", "generative.prompt_plan=full", "Set generative.loss = 'single'"),
        ("instruction_tuning", "generative.loss=vanilla", "Set generative.loss = 'single'"),
        ("icl", "generative.decoding=free", "needs generative.decoding"),
    ],
)
def test_what_a_method_does_not_support_is_refused_before_data_are_read(method, override, message, tmp_path):
    from lookboth.training.training_runs import train

    overrides = [f"method={method}", override]
    if "generative" in override:
        overrides.append("generative.prompt_plan=full")
    config = parse_config({"data": {"train": "no-such-data"}}, overrides)
    with pytest.raises(ConfigError, match=message):
        train(config, tmp_path)


def test_what_a_method_supports_is_accepted():
    for method, overrides in {
        "classifier": ["plan=full", "repetition=1", "training.cache_frozen=true", "adaptation.objective=clm"],
        "sift": ["generative.prompt_plan=full", "generative.loss=single", "plan=causal"],
        "instruction_tuning": ["generative.prompt_plan=full"],
        "icl": ["generative.prompt_plan=full", "adapter.kind=head"],
    }.items():
        require_supported(parse_config(DATA, [f"method={method}", *overrides]))
