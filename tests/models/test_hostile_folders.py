"""Labelers that somebody else made: whatever is in their folders, nothing runs or hangs, and one line says why."""

import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings, strategies as st
from safetensors.torch import load_file, save_file

from lookboth import cli
from lookboth.errors import LookbothError
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.labeler_config import is_labeler, read_settings
from lookboth.models import untrusted

SAVED = Path(__file__).parent / "formats" / "1"
KINDS = ("lora", "full", "texts", "generative")
CONFIG, ADAPTER = "config.json", "adapter/adapter_config.json"


def load(folder: Path) -> Labeler:
    return Labeler.from_pretrained(folder, device="cpu", precision="fp32", base=str(SAVED / "base"))


def refused(folder: Path) -> str:
    """Return the one line with which a folder is refused."""
    with pytest.raises(LookbothError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message.strip()
    assert len(message) < 2000
    return message


@pytest.fixture
def copied(tmp_path):
    """Return a function that copies a saved labeler, to be spoiled."""
    return lambda kind="lora": Path(shutil.copytree(SAVED / kind, tmp_path / kind))


def edit(file: Path, **changes) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**data, **changes}), encoding="utf-8")


# Nothing is executed.

TRAP = "from pathlib import Path\nPath(__file__).with_name('sprung').touch()\nclass Trap: pass\n"


@pytest.mark.parametrize(
    ("kind", "file", "changes"),
    [
        ("lora", "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["trap.Trap", "trap.Trap"]}}),
        ("lora", "tokenizer_config.json", {"tokenizer_class": "Trap", "auto_map": {"AutoTokenizer": "trap.Trap"}}),
        ("lora", ADAPTER, {"megatron_config": {"x": 1}, "megatron_core": "trap"}),
        ("lora", ADAPTER, {"auto_mapping": {"base_model_class": "Trap", "parent_library": "trap"}}),
        ("lora", ADAPTER, {"peft_type": "trap.Trap"}),
        ("full", "backbone/config.json", {"auto_map": {"AutoModel": "trap.Trap", "AutoConfig": "trap.Trap"}}),
        ("full", "backbone/config.json", {"model_type": "trap", "auto_map": {"AutoConfig": "trap.Trap"}}),
        ("full", "backbone/config.json", {"attn_implementation": "trap/kernel", "_attn_implementation": "trap/kernel"}),
        ("full", "backbone/config.json", {"quantization_config": {"quant_method": "trap"}}),
        ("generative", "tokenizer_config.json", {"chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}"}),
    ],
)  # fmt: skip
def test_code_that_a_folder_brings_or_names_is_not_run(kind, file, changes, copied, monkeypatch):
    folder = copied(kind)
    edit(folder / file, **changes)
    places = {folder, (folder / file).parent, folder / "backbone" if kind == "full" else folder}
    for place in places:
        (place / "trap.py").write_text(TRAP, encoding="utf-8")
        monkeypatch.syspath_prepend(str(place))  # as with `python -m` in the folder
    monkeypatch.chdir(folder)
    said = ""
    try:
        load(folder).predict("Ada was in London.")
    except LookbothError as error:
        said = str(error)
    assert "\n" not in said.strip()
    assert not [place for place in places if (place / "sprung").exists()]
    assert "trap" not in sys.modules


def test_no_pickle_is_opened_whatever_it_is_called(copied, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    names = ("pytorch_model.bin", "adapter_model.bin", "model.pt", "training_args.bin", "tokenizer.pkl")
    for kind, weights in {
        "full": "backbone/model.safetensors",
        "lora": "adapter/adapter_model.safetensors",
    }.items():
        folder = copied(kind)
        for place in (folder, (folder / weights).parent):
            for name in names:
                (place / name).write_bytes(pickle.dumps(Bomb()))
        load(folder)  # what is not needed is not looked at
        (folder / weights).unlink()
        refused(folder)
        (folder / weights).write_bytes(pickle.dumps(Bomb()))
        refused(folder)
    assert not (tmp_path / "sprung").exists()


# Nothing hangs or takes all memory.


def test_pipes_devices_and_dead_links_are_refused_before_they_are_read(copied):
    for number, name in enumerate((CONFIG, "tokenizer.json", ADAPTER, "head.safetensors")):
        folder = copied()
        (folder / name).unlink()
        if number % 2:
            os.mkfifo(folder / name)
        else:
            (folder / name).symlink_to("/dev/zero" if number else "/nowhere/at/all")
        assert Path(name).name in refused(folder)
        assert not is_labeler(folder)
        shutil.rmtree(folder)


def test_gigantic_json_is_refused_before_it_is_read(copied):
    folder = copied()
    with (folder / "tokenizer.json").open("ab") as file:
        file.truncate(untrusted.MAX_JSON_BYTES + 1)  # a file with a hole: it takes no room on the disk
    assert "allowed are up to 200,000,000" in refused(folder)


@pytest.mark.parametrize("name", [CONFIG, ADAPTER, "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "\ufeff{}", "nul"])
def test_deep_and_odd_json_is_refused(name, text, copied):
    folder = copied()
    (folder / name).write_text(text, encoding="utf-8")
    refused(folder)


@pytest.mark.parametrize(
    ("name", "changes", "named"),
    [
        (CONFIG, {"num_hidden_layers": 10**12}, "num_hidden_layers"),
        (CONFIG, {"exit_layer": 10**12}, "exit_layer"),
        (CONFIG, {"max_tokens": True}, "max_tokens"),
        (CONFIG, {"base": ["x"]}, "base"),
        (CONFIG, {"base": "\ud800"}, "surrogate"),
        (CONFIG, {"id2label": {"0": None}}, "id2label"),
        (CONFIG, {"id2label": {"7": "O"}}, "config.json"),
        (CONFIG, {"scores": []}, "scores"),
        (CONFIG, {"scores": {"test": {"x": "1"}}}, "score"),
        (CONFIG, {"encoding": {"word_prefix": 1, "prefix_ids": [], "suffix_ids": [], "fallback_id": 0}}, "word_prefix"),
        (CONFIG, {"encoding": {"word_prefix": "", "prefix_ids": [9999], "suffix_ids": [], "fallback_id": 0}}, "9999"),
        (CONFIG, {"head": {"kind": "linear", "layers": ["x"]}}, "config.json"),
        (CONFIG, {"confidence": {"temperature": float("nan")}}, "temperature"),
        (CONFIG, {"confidence": {"nothing": 1}}, "config.json"),
        (ADAPTER, {"r": 10**9}, "rank"),
        (ADAPTER, {"r": "4"}, "r:"),
        (ADAPTER, {"target_modules": "(a+)+$"}, "target_modules"),
        (ADAPTER, {"rank_pattern": {"(a+)+$": 10**9}}, "rank_pattern"),
        (ADAPTER, {"layer_replication": [[0, 2]] * 1000}, "layer_replication"),
        (ADAPTER, {"modules_to_save": ["embed_tokens"]}, "modules_to_save"),
        (ADAPTER, {"init_lora_weights": "pissa"}, "init_lora_weights"),
        (ADAPTER, {"from_the_future": {"x": 1}}, "from_the_future"),
        (ADAPTER, {"peft_type": "IA3"}, "peft_type"),
    ],
)  # fmt: skip
def test_settings_of_other_types_and_sizes_are_refused_by_name(name, changes, named, copied):
    folder = copied()
    edit(folder / name, **changes)
    message = refused(folder)
    assert Path(name).name in message
    assert named in message


def test_paths_in_settings_lead_to_nothing_that_is_executed_or_written(copied, tmp_path, monkeypatch):
    folder = copied()
    monkeypatch.chdir(folder)
    before = sorted(tmp_path.rglob("*"))
    for base in (
        "../../base",
        "/etc/passwd",
        "/etc",
        "~",
        "file:///etc/passwd",
        "..\\..\\x",
        "a\0b",
        "x" * 5000,
        "",
    ):
        edit(folder / CONFIG, base=base)
        with pytest.raises(LookbothError) as caught:
            Labeler.from_pretrained(folder, device="cpu", precision="fp32", merge=False)
        assert "\n" not in str(caught.value).strip()
    assert sorted(tmp_path.rglob("*")) == before


def test_saving_replaces_links_and_does_not_write_through_them(copied, tmp_path):
    labeler, mine = load(copied("full")), tmp_path / "mine.txt"
    mine.write_text("mine", encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("config.json", "README.md"):
        (out / name).symlink_to(mine)
    labeler.save_pretrained(out)
    assert mine.read_text(encoding="utf-8") == "mine"
    assert read_settings(out)["model_type"] == "lookboth"


# Weights.


def test_truncated_weights_are_refused_wherever_they_end(copied):
    for name in ("head.safetensors", "adapter/adapter_model.safetensors"):
        folder = copied()
        whole = (folder / name).read_bytes()
        for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
            (folder / name).write_bytes(whole[:length])
            assert Path(name).name in refused(folder)
        shutil.rmtree(folder)


def test_weights_of_other_shapes_are_refused(copied):
    for name in ("adapter/adapter_model.safetensors", "head.safetensors"):
        folder = copied()
        weights = load_file(folder / name)
        for change in (
            lambda value: value.flatten(),
            lambda value: value[None],
            lambda value: torch.cat([value, value]),
            lambda value: value[:0],
        ):
            save_file({key: change(value).contiguous() for key, value in weights.items()}, folder / name)
            refused(folder)
        shutil.rmtree(folder)


def test_a_backbone_of_another_shape_than_its_weights_is_refused(copied):
    for changes in (
        {"hidden_size": 10**9},
        {"vocab_size": 10**12},
        {"num_attention_heads": 0},
        {"hidden_act": []},
    ):
        folder = copied("full")
        edit(folder / "backbone" / CONFIG, **changes)
        refused(folder)
        shutil.rmtree(folder)


# Anything else: every value of every file replaced by something else is refused in one line, or labels.


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Return the paths of all values in a JSON document, those of a vocabulary left out."""
    found = [path] if path else []
    inner = (
        value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
    )
    for key, below in inner:
        if key not in ("vocab", "merges"):
            found += places(below, (*path, key))
    return found


def replaced(document: object, path: tuple, value: object) -> object:
    *outer, last = path
    inner = document
    for key in outer:
        inner = inner[key]
    inner[last] = value
    return document


TARGETS = [
    (kind, str(file.relative_to(SAVED / kind)), path)
    for kind in KINDS
    for file in sorted((SAVED / kind).rglob("*.json"))
    if file.name != "expected.json"
    for path in places(json.loads(file.read_text(encoding="utf-8")))
]
VALUES = st.sampled_from(
    [None, True, -1, 0, 1.5, 10**12, 1e308, float("nan"), "", "x", "../x", "/etc/passwd", "\ud800", "(a+)+$", [], {}]
) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(TARGETS), VALUES)
@example(("full", "tokenizer.json", ("model", "continuing_subword_prefix")), "import os")  # ends in a panic
@example(("full", "tokenizer.json", ("post_processor", "single", 0, "SpecialToken", "id")), "nothing")
@example(("lora", "config.json", ("scheme",)), [1])
@example(("texts", "tokenizer_config.json", ("backend",)), "\ud800")
def test_any_change_of_any_file_is_refused_in_one_line_or_labels(tmp_path_factory, target, value):
    kind, name, path = target
    folder = Path(shutil.copytree(SAVED / kind, tmp_path_factory.mktemp("changed") / kind))
    document = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps(replaced(document, path, value)), encoding="utf-8")
    text, said, spans = "Ada was in London.", "", ()
    try:
        labeler = load(folder)
        spans = labeler.predict(text)[0].spans
        labeler.save_pretrained(folder / "again")
    except LookbothError as error:
        said = str(error)
    assert "\n" not in said.strip()
    assert all(text[span.start_char : span.end_char] == span.text for span in spans)
    shutil.rmtree(folder)


def test_the_command_line_says_it_in_one_line(copied, monkeypatch, capsys):
    folder = copied("full")
    (folder / "tokenizer.json").write_text("[" * 100_000, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["lookboth", "predict", "x", "--model", str(folder), "--device", "cpu"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: model ")
