"""The exported folder: what is missing, cut off, changed or from elsewhere is refused by name; torch is not needed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from lookboth.errors import ConfigError, ModelError, PlanError
from lookboth.labelers import open_labeler
from lookboth.labelers.inspect import inspect_model
from lookboth.labelers.labeler import require_head
from lookboth.onnx.onnx_labeler import OnnxLabeler

TEXT = "Ada Lovelace was born in London, they say."
ABSENT = (
    *("torch", "transformers", "peft", "accelerate", "safetensors", "huggingface_hub", "pydantic"),
    *("onnx", "onnxscript", "onnx_ir", "scipy", "pandas", "sklearn", "psutil", "filelock"),
)
BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def folder(exported_folder, tmp_path) -> Path:
    """A copy to be spoiled."""
    return Path(shutil.copytree(exported_folder, tmp_path / "copy"))


def edit(folder: Path, change) -> None:
    file = folder / "config.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    change(data)
    file.write_text(json.dumps(data), encoding="utf-8")


def run(code: str, *arguments, absent=ABSENT) -> str:
    """Run code in a Python that has none of the packages `absent`."""
    command = [sys.executable, "-c", f"ABSENT = {absent!r}\n{BLOCK}{code}", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.stdout + ended.stderr


def test_it_runs_where_torch_is_not_installed(exported_folder, same_in_torch):
    code = """
import json
import lookboth
from lookboth.onnx import OnnxLabeler
found = OnnxLabeler.from_pretrained(sys.argv[1]).predict([sys.argv[2]])[0]
assert "torch" not in sys.modules
print(json.dumps(found.to_dict()))
"""
    wanted = same_in_torch.predict(TEXT)[0].to_dict()
    assert wanted["spans"]
    assert json.loads(run(code, exported_folder, TEXT)) == wanted


def test_the_command_predict_does_so_too(exported_folder, same_in_torch):
    code = "import lookboth.cli\nlookboth.cli.main()"
    absent = [name for name in ABSENT if name != "pydantic"]  # typer, which reads the command line, has it
    out = run(code, "predict", TEXT, "--model", exported_folder, "--format", "jsonl", absent=absent)
    assert json.loads(out) == same_in_torch.predict(TEXT)[0].to_dict()
    out = run(code, "predict", TEXT, absent=absent)
    assert out.startswith("error: this labeler needs torch, which is not installed.")


@pytest.fixture
def labeled(tmp_path) -> Path:
    file = tmp_path / "data.conll"
    file.write_text("Ada B-PER\nlives O\nin O\nRome B-LOC\n\nMay B-PER\nran O\n", encoding="utf-8")
    return file


def test_evaluate_and_suggest_do_so_too(exported_folder, labeled, tmp_path):
    code = "import lookboth.cli\nlookboth.cli.main()"
    absent = [name for name in ABSENT if name not in {"pydantic"}]
    out = run(code, "evaluate", labeled, "--model", exported_folder, "--out", tmp_path / "run", absent=absent)
    assert "F1" in out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["scores"]
    texts = tmp_path / "texts.txt"
    texts.write_text(f"{TEXT}\nMay ran.\n", encoding="utf-8")
    out = run(code, "suggest", texts, "--model", exported_folder, absent=absent)
    assert {json.loads(line)["text"] for line in out.splitlines()} == {TEXT, "May ran."}


@pytest.mark.parametrize("command", ["calibrate", "prove", "merge"])
def test_commands_that_need_torch_say_so(exported_folder, labeled, command):
    code = "import lookboth.cli\nlookboth.cli.main()"
    absent = [name for name in ABSENT if name != "pydantic"]
    out = run(
        code,
        command,
        exported_folder,
        *([labeled] if command in {"calibrate", "merge"} else []),
        absent=absent,
    )
    assert out.startswith("error: "), out
    assert "not installed. Type: pip install lookboth" in out


def test_every_door_leads_to_it(exported_folder, tmp_path):
    labeler = open_labeler(exported_folder, merge=False)
    assert isinstance(labeler, OnnxLabeler)
    labeler.save_pretrained(tmp_path / "again")
    assert OnnxLabeler.from_pretrained(tmp_path / "again", device="cpu:0", threads=1).predict(
        TEXT
    ) == labeler.predict(TEXT)
    assert labeler.predict_words([TEXT.split()])[0].words == tuple(TEXT.split())
    with pytest.raises(ModelError, match="exported labeler cannot be merged"):
        require_head(labeler, "merged")
    assert "exported" in inspect_model(str(exported_folder))
    with pytest.raises(PlanError, match=r"cannot be changed\. Leave out the plan '0011'"):
        inspect_model(str(exported_folder), "0011")


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_files_that_are_missing_cut_off_or_changed_are_refused(folder, name):
    file = folder / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(ModelError, match=rf"{name}: {len(whole) - 1} bytes, but {len(whole)} were written"):
        OnnxLabeler.from_pretrained(folder)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ModelError, match=rf"{name}: not the file that was written"):
        OnnxLabeler.from_pretrained(folder)
    file.unlink()
    with pytest.raises(ModelError, match=rf"{name}: missing.*lookboth export MODEL FOLDER"):
        OnnxLabeler.from_pretrained(folder)


def test_what_is_no_graph_or_no_tokenizer_is_refused_even_with_the_right_hash(folder):
    from dataclasses import replace

    from lookboth.onnx.folder import read_config, write_config

    for name in ("model.onnx", "tokenizer.json"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(b"{}")
        write_config(folder, replace(read_config(folder)))
        with pytest.raises(ModelError, match=name):
            OnnxLabeler.from_pretrained(folder)
        (folder / name).write_bytes(before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: data["files"].update({"../../etc/passwd": {"size": 1, "sha256": 64 * "0"}}),
            "unknown file",
        ),
        (lambda data: data["files"].pop("model.onnx"), "there is no entry for the file 'model.onnx'"),
        (lambda data: data.update(files=[]), "malformed"),
        (lambda data: data.update(format_version=99), "pip install --upgrade lookboth"),
        (lambda data: data.update(weights="int3"), "allowed are fp32, int8"),
        (lambda data: data.update(likelihood="chain"), "needs transitions"),
        (lambda data: data.update(transitions=[[0.0]]), "needs transitions"),
        (lambda data: data.pop("encoding"), "encoding is missing"),
        (lambda data: data.pop("kind"), "this labeler runs with torch"),
    ],
)
def test_a_config_that_is_wrong_is_refused(folder, change, message):
    edit(folder, change)
    with pytest.raises(ModelError, match=message):
        OnnxLabeler.from_pretrained(folder)


def test_a_device_that_is_not_there_and_a_folder_that_is_not_there(exported_folder, tmp_path):
    with pytest.raises(ConfigError, match="runs on cpu"):
        OnnxLabeler.from_pretrained(exported_folder, device="tpu")
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        OnnxLabeler.from_pretrained(tmp_path)


def test_nothing_of_this_machine_is_written(exported_folder):
    for file in exported_folder.iterdir():
        content = file.read_bytes()
        for trace in (str(Path(tiny.__file__).parent), str(exported_folder.parent), "site-packages"):
            assert trace.encode() not in content, f"{file.name} names {trace}"
