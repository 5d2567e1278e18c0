"""The papers' studies: their published settings, and a cell of each on made-up data of the same form."""

import dataclasses
import json
import math
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tiny import tiny_config, tiny_tokenizer
from tiny_runs import DEEP, model_like
from transformers import AutoModelForCausalLM

from lookboth import Labeler
from lookboth.config.recipe_files import overlay
from lookboth.data.conversion.convert_options import ConvertOptions
from lookboth.data.conversion.converting import convert
from lookboth.evaluation.evaluate import evaluate_labeler
from lookboth.masking.plan import MaskPlan
from lookboth.study.cell_run import run_cell
from lookboth.study.cells import study_settings
from lookboth.study.config import StudyConfig, load_study
from lookboth.training.adapters import num_trainable
from lookboth.training.labeler_building import build_labeler
from lookboth.training.splits import read_splits

STUDIES = Path(__file__).parent.parent.parent / "recipes" / "studies"
CONLL = "-DOCSTART- -X- O O\n\nMira NNP I-NP I-PER\nsaw VBD I-VP O\nTarn NNP I-NP I-LOC\n\n" * 6
WORDS = ["Rebels", "shot", "at", "the", "convoy"]
EVENT = {"trigger": {"text": "shot", "start": 1, "end": 2}, "event_type": "Conflict:Attack", "arguments": []}
REVIEW = """<sentence id="{}"><text>The soup was cold</text><aspectTerms>
<aspectTerm term="soup" polarity="{}" from="4" to="8"/></aspectTerms></sentence>"""
SLOT = {"text": "a table at nine", "slots": {"time": {"text": "nine", "span": [11, 15]}}}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The folders the studies name, converted from made-up files in the form of the published ones."""
    monkeypatch.chdir(tmp_path)
    polarities = ("positive", "negative", "neutral", "conflict") * 5
    reviews = "".join(REVIEW.format(i, polarity) for i, polarity in enumerate(polarities))
    sources = {
        "conll": CONLL,
        "ace": json.dumps([{"words": WORDS, "golden-event-mentions": [EVENT]}] * 6),
        "rest": f"<sentences>{reviews}</sentences>",
        "fold": json.dumps([SLOT] * 6),
    }
    for name, content in sources.items():
        Path(name).write_text(content, encoding="utf-8")
    for split in ("train", "dev", "test"):
        convert("conll2003", "conll", f"data/conll2003_ner/{split}.conll")
        convert("conll2003", "conll", f"data/ontonotes5/{split}.jsonl")
        convert("conll2003", "conll", f"data/conll2003_chunk/{split}.conll", ConvertOptions(column="chunk"))
        convert("ace05", "ace", f"data/ace05/{split}.conll")
        convert("nlupp", "fold", f"data/nlupp/{split}.conll")
        convert("semeval-absa", "rest", f"data/rest14/{split}.conll", ConvertOptions(polarities=4))


@pytest.fixture(scope="module")
def tiny_language_model(tmp_path_factory):
    """A tiny Llama with its vocabulary head, which adaptation needs."""
    folder = tmp_path_factory.mktemp("tiny") / "llama-lm"
    tokenizer = tiny_tokenizer("byte-bos")
    AutoModelForCausalLM.from_config(tiny_config("llama", len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_llm_unmasking_is_sixteen_plans_on_four_tasks_with_five_seeds():
    study = load_study(STUDIES / "llm_unmasking.toml")
    plans = [name for name in study.all_methods() if set(name) <= {"0", "1"}]
    assert (len(plans), len(study.datasets), study.seeds) == (16, 4, (120, 121, 122, 123, 124))
    recipe = study.recipe
    assert recipe["adapter"] == {
        "kind": "qlora",
        "rank": 64,
        "alpha": 16,
        "dropout": 0.1,
        "target_modules": ["q_proj", "v_proj"],
    }
    training = recipe["training"]
    assert (training["lr"], training["schedule"], training["epochs"]) == (2e-4, "cosine", 5)
    assert (training["weight_decay"], training["accumulation"], training["clip"]) == (0.1, 4, 1.0)
    assert (training["optimizer"], training["betas"], training["eps"]) == (
        "paged_adamw_8bit",
        [0.9, 0.95],
        1e-5,
    )
    assert (training["batch_sentences"], recipe["max_tokens"], recipe["truncate"]) == (16, 128, True)
    end = (1 + math.cos(math.pi / training["accumulation"])) / 2  # its T_max counts micro-batches
    assert training["lr_end"] == pytest.approx(end * training["lr"], rel=0.01)


def test_llm_unmasking_has_its_controls():
    methods = load_study(STUDIES / "llm_unmasking.toml").methods
    locked, only_predict = methods["roberta-base-locked"], methods["roberta-base-locked-predict-only"]
    assert (locked["plan"], only_predict["train_plan"], only_predict["plan"]) == ("causal", "full", "causal")
    written = methods["instruction_tuning"]["generative"]
    assert (written["loss"], written["temperature"], written["top_p"]) == ("vanilla", 0.6, 0.9)


def test_tapt_adds_the_adaptation_and_changes_nothing_else():
    plain, tapt = (load_study(STUDIES / f"llm_unmasking{end}.toml") for end in ("", "_tapt"))
    adaptation = tapt.recipe["adaptation"]
    assert {**tapt.recipe, "adaptation": None} == {**plain.recipe, "adaptation": None}
    training = plain.recipe["training"]
    assert all(adaptation[key] == training[key] for key in ("epochs", "lr"))
    assert (tapt.datasets, tapt.seeds) == (plain.datasets, plain.seeds)
    under_plan = {"adaptation": {"objective": "clm_under_plan"}}
    both = {f"{name}-plan": keys | under_plan for name, keys in plain.models.items()}
    assert tapt.models == plain.models | both
    assert (adaptation["objective"], adaptation["blocks"], adaptation["keep"]) == ("clm", 128, "last")
    assert adaptation["batch_tokens"] == 128 * training["batch_sentences"]


DEPTHS = {"0.6b": 28, "mistral": 32, "gemma-7b": 28, "2-2b": 26, "2-9b": 42, "1.7b": 28, "4b": 36, "8b": 36}


def test_repetition_sl_removes_the_mask_in_the_layers_its_code_does():
    study = load_study(STUDIES / "repetition_sl.toml")
    middle = {name: keys for name, keys in study.methods.items() if name.startswith("middle-")}
    assert {keys["model"] for keys in middle.values()} == {keys["model"] for keys in study.models.values()}
    for name, keys in middle.items():
        depth = next(depth for part, depth in DEPTHS.items() if part in name)
        half_width = depth / 3 // 2
        wanted = [depth / 2 - 1 - half_width <= layer <= depth / 2 + half_width for layer in range(depth)]
        assert [reach is None for reach in MaskPlan.parse(keys["plan"], depth).reach] == wanted


def test_a_batch_of_repeated_sentences_holds_as_many_sentences():
    study = load_study(STUDIES / "repetition_sl.toml")
    assert study.recipe["training"]["batch_sentences"] == 8
    repeated = [keys for keys in study.methods.values() if "repetition" in keys]
    assert len(repeated) == 4 + 16
    assert not any("training" in keys for keys in repeated)
    assert all(keys["prefix_each_copy"] for keys in repeated)


def test_words_of_qwen_and_gemma_have_no_leading_space_as_in_repetition_sl():
    study = load_study(STUDIES / "repetition_sl.toml")
    for keys in [*study.models.values(), *study.methods.values()]:
        if "model" in keys:
            assert keys.get("leading_space", True) != any(n in keys["model"] for n in ("Qwen3", "gemma"))


@pytest.mark.parametrize(
    ("file", "dataset", "method"),
    [
        ("llm_unmasking", "ner", "0110"),
        ("llm_unmasking", "chunk", "full_predict_only"),
        ("llm_unmasking", "absa", "1111"),
        ("llm_unmasking", "triggers", "0011"),
        ("llm_unmasking_tapt", "ner", "0011"),
        ("repetition_sl", "slots", "sr2"),
        ("repetition_sl", "triggers", "full"),
        ("ls_llama_words", "ontonotes", "ls-unllama"),
    ],
)
def test_one_cell_runs_on_a_tiny_model(published, tiny_language_model, tmp_path, file, dataset, method):
    cell = tiny_cell(file, dataset, method, tiny_language_model, tmp_path)
    run_cell(cell)
    run = json.loads((cell.folder / "run.json").read_text(encoding="utf-8"))
    assert run["seed"] == cell.seed
    assert {"dev", "test"} <= {name.partition(":")[0] for name in run["scores"]}


# The columns of the hub data sets, with invented rows; their splits are those of the hub.
TEXTS = {
    "sst2": ("stanfordnlp/sst2", "sentence", ("train", "validation", "test")),
    "agnews": ("fancyzhx/ag_news", "text", ("train", "test")),
}


@pytest.mark.parametrize(("dataset", "method"), [("sst2", "ls-llama"), ("agnews", "ls-unllama-max")])
def test_one_cell_of_texts_runs_on_a_tiny_model(tmp_path, monkeypatch, tiny_llama_folder, dataset, method):
    datasets = pytest.importorskip("datasets")
    name, column, splits = TEXTS[dataset]
    rows = datasets.Dataset.from_dict({column: ["so good", "too bad"] * 20, "label": [1, 0] * 20})
    rows = rows.cast_column("label", datasets.ClassLabel(names=["negative", "positive"]))
    hidden = rows.map(lambda row: {"label": -1})
    monkeypatch.chdir(tmp_path)
    data = {split: hidden if (dataset, split) == ("sst2", "test") else rows for split in splits}
    datasets.DatasetDict(data).save_to_disk(name)
    cell = tiny_cell("ls_llama_texts", dataset, method, tiny_llama_folder, tmp_path)
    run_cell(cell)
    run = json.loads((cell.folder / "run.json").read_text(encoding="utf-8"))
    assert {"dev", "test"} <= {name.partition(":")[0] for name in run["scores"]}


def qlora_cells(folder):
    """Yield a recipe of each model, depth and adapter that a published study trains over 4 bits."""
    seen = set()
    for file in ("llm_unmasking", "llm_unmasking_tapt", "repetition_sl", "sift_paper"):
        study = load_study(STUDIES / f"{file}.toml")
        for setting in study_settings(study, folder):
            cell = setting.final_cell(study.seeds[0], {})
            if cell.config.adapter.kind == "qlora" and cell.config.data.train == ("data/conll2003_ner",):
                shape = (cell.config.model, cell.config.exit_layer, str(cell.config.adapter))
                if shape not in seen:
                    yield cell.config
                seen.add(shape)


def test_every_cell_over_4_bits_is_built_on_a_tiny_model_of_its_family(tmp_path):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    folders, built = {}, 0
    for config in qlora_cells(tmp_path / "out"):
        folders[config.model] = model_like(config.model, tmp_path, DEEP)
        tiny = config.model_copy(update={"model": str(folders[config.model]), "max_tokens": 32, "overlap": 0})
        labeler = build_labeler(tiny, labels=["PER", "LOC"], device="cpu")
        kinds = {type(m) for m in labeler.model.backbone.modules()}
        assert bitsandbytes.nn.Linear4bit in kinds
        weight = next(
            m for m in labeler.model.backbone.modules() if type(m) is bitsandbytes.nn.Linear4bit
        ).weight
        assert weight.quant_state.nested == config.adapter.double_quant
        assert num_trainable(labeler.model) > 0
        built += 1
    assert len(folders) == 13
    assert built == 13 + 2 + 4  # two models with two adapters, four early exits


def test_a_cell_over_4_bits_is_trained_saved_and_reloaded(published, tiny_language_model, tmp_path):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    adapter = {"kind": "qlora", "double_quant": False, "rank": 4}
    cell = tiny_cell("llm_unmasking", "ner", "0011", tiny_language_model, tmp_path, adapter)
    cell = dataclasses.replace(cell, keep_labeler=True)
    run_cell(cell)
    run = json.loads((cell.folder / "run.json").read_text(encoding="utf-8"))
    assert run["scores"]["unscored_words"] == {"dev": 0, "test:data/conll2003_ner": 0}
    labeler = Labeler.from_pretrained(cell.folder / "labeler", device="cpu")
    layers = [m for m in labeler.model.backbone.modules() if type(m) is bitsandbytes.nn.Linear4bit]
    assert layers
    assert not any(layer.weight.quant_state.nested for layer in layers)
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)  # repacked layers give no gradients
    assert evaluate_labeler(labeler, read_splits(cell.config).dev).scores.headline == pytest.approx(
        run["scores"]["dev"]["headline"]
    )


def tiny_cell(file, dataset, method, model, folder, adapter=None):
    """Return a cell of a study with a tiny model in place of its own, and one epoch."""
    study = load_study(STUDIES / f"{file}.toml")
    training = {"precision": "fp32", "epochs": 1, "accumulation": 1}
    tiny = {
        "model": str(model),
        "adapter": adapter or {"kind": "lora", "double_quant": True},
        "training": training,
    }
    if "adaptation" in study.recipe:
        tiny["adaptation"] = {"epochs": 1}
    small = StudyConfig.model_validate(
        {
            "name": file,
            "seeds": study.seeds[:1],
            "recipe": study.recipe,
            "datasets": {dataset: study.datasets[dataset]},
            "methods": {method: overlay(study.all_methods()[method], tiny)},
        }
    )
    (setting,) = study_settings(small, folder / "out")
    return setting.final_cell(study.seeds[0], {})


def commands_of(recipe, first, last):
    """Return the shell lines of a recipe's comment, from the line that holds `first` to the one that holds `last`."""
    lines = [line.removeprefix("#") for line in (STUDIES / recipe).read_text().splitlines()]
    begin = next(number for number, line in enumerate(lines) if first in line)
    end = next(number for number, line in enumerate(lines) if number >= begin and last in line)
    return textwrap.dedent("\n".join(lines[begin : end + 1]))


def test_folds_of_nlupp_are_those_of_its_code(tmp_path):
    """takelab/repetition-sl, sl_pipeline/data/processed/nlupp: validation 11, 16; test 10, 13, 15, 18."""
    folds = tmp_path / "data" / "nlupp_folds"
    folds.mkdir(parents=True)
    (tmp_path / "data" / "nlupp").mkdir()
    for domain in ("banking", "hotels"):
        for number in range(20):
            (folds / f"{domain}-{number}.conll").write_text(f"{domain} {number}\n")
    joining = commands_of("repetition_sl.toml", "cd data/nlupp_folds", "train.conll")
    subprocess.run(["bash", "-ec", joining], cwd=tmp_path, check=True)
    wanted = {"dev": {11, 16}, "test": {10, 13, 15, 18}}
    wanted["train"] = set(range(20)) - wanted["dev"] - wanted["test"]
    for split, numbers in wanted.items():
        lines = (tmp_path / "data" / "nlupp" / f"{split}.conll").read_text().splitlines()
        assert sorted(lines) == sorted(f"{d} {n}" for d in ("banking", "hotels") for n in numbers)


def test_restaurants_are_divided_as_in_the_code(tmp_path):
    """A tenth for dev by random.sample with seed 42: 2737 and 304 of 3041 sentences."""
    sentences = [f"word{number} O" for number in range(3041)]
    (tmp_path / "data" / "rest14").mkdir(parents=True)
    (tmp_path / "data" / "rest14_all.conll").write_text("\n\n".join(sentences) + "\n")
    dividing = commands_of("llm_unmasking.toml", 'python -c "import random', "rest14/{name}.conll")
    dividing = dividing.replace("python ", f"{sys.executable} ", 1)
    subprocess.run(["bash", "-ec", dividing], cwd=tmp_path, check=True)
    found = {
        split: (tmp_path / "data" / "rest14" / f"{split}.conll").read_text().strip().split("\n\n")
        for split in ("train", "dev")
    }
    assert {split: len(part) for split, part in found.items()} == {"train": 2737, "dev": 304}
    assert set(found["dev"]) == set(random.Random(42).sample(sentences, 304))
    assert sorted(found["train"] + found["dev"]) == sorted(sentences)


def test_methods_that_train_nothing_are_not_tuned(tmp_path):
    study = load_study(STUDIES / "sift_tiny.toml")
    tuned = {
        setting.name.rpartition("/")[2]: len(setting.tuning_cells)
        for setting in study_settings(study, tmp_path)
    }
    assert {count for name, count in tuned.items() if name.startswith("icl")} == {0}
    assert {count for name, count in tuned.items() if not name.startswith("icl")} == {2}
