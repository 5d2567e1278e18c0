"""The command line: every command on tiny models, and one readable line for everything that goes wrong."""

import ast
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import typer
from tiny import tiny_labeler

from lookboth import cli
from lookboth.data.readers import read_dataset

COMMANDS = ("demo", "inspect", "prove", "check-data", "train", "evaluate", "predict", "merge")
SENTENCES = {
    "train": "Ada B-PER\nLovelace I-PER\nwas O\nin O\nLondon B-LOC\n\nthe O\nfox O\nin O\nYork B-LOC\n\n" * 4,
    "dev": "Ada B-PER\nwas O\nin O\nYork B-LOC\n",
    "test": "Charles B-PER\nBabbage I-PER\nin O\nLondon B-LOC\n",
}

ILL_FORMED = "Ada B-PER\nwas O\nin I-LOC\nLondon I-LOC\n\nYork B-LOC\n"  # no scheme has a tag like line 3


@pytest.fixture
def run(monkeypatch, capfd):
    """Run the command line as a user does; return exit status, standard output and standard error."""

    def run(*arguments, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lookboth", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capfd.readouterr()
        return status, out, err

    return run


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for split, text in SENTENCES.items():
        (folder / f"{split}.conll").write_text(text.replace(" ", "\t"), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def labeler_folder(tiny_llama_folder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "labeler"
    tiny_labeler(tiny_llama_folder, plan="0011").save_pretrained(folder)
    return folder


def test_the_command_line_is_there_before_torch():
    """What `lookboth --help` imports decides how long it takes; torch and transformers may not be in it."""
    code = (
        "import atexit, gc, sys, lookboth.cli\n"
        "atexit.register(lambda: print('frozen:', gc.get_freeze_count() > 0))\n"
        "heavy = {'torch', 'transformers', 'numpy', 'peft', 'datasets'} & set(sys.modules)\n"
        "sys.argv = ['lookboth', '--help']\n"
        "try: lookboth.cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy |= {'torch', 'transformers', 'numpy', 'peft', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert command in done.stdout
    # Before Python ends, when searching for cycles would take a second in a process with torch.
    assert done.stdout.endswith("frozen: True\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert "Usage:" in out


BAD_INPUT = {
    "train on nothing": (["train"], "nothing to train on"),
    "missing recipe": (["train", "no-such.toml"], "no-such.toml"),
    "unknown key": (["train", "{recipe}"], "unknown key 'training.epoch'"),
    "unknown key in --set": (["train", "--data", "{data}", "--set", "training.epoch=1"], "training.epoch"),
    "value out of range": (["train", "--data", "{data}", "--set", "training.lr=-1"], "training.lr"),
    "training data not there": (["train", "--data", "./no-data", "--model", "{model}"], "no-data"),
    "model not there": (["train", "--data", "{data}", "--model", "./no-model"], "no-model"),
    "plan does not fit": (["train", "--data", "{data}", "--model", "{model}", "--plan", "00112"], "00112"),
    "ill-formed training data": (["train", "--data", "{broken}", "--model", "{model}"], "broken"),
    "predict on a missing file": (["predict", "missing.txt"], "missing.txt"),
    "predict with no labeler": (["predict", "a text", "--model", "./nothing"], "./nothing"),
    "predict with a plain model": (["predict", "a text", "--model", "{model}"], "not a lookboth labeler"),
    "predict on another encoding": (["predict", "{latin}", "--model", "{labeler}"], "latin.txt:2"),
    "precision": (["predict", "a text", "--model", "{labeler}", "--precision", "fp64"], "fp64"),
    "device": (["predict", "a text", "--model", "{labeler}", "--device", "abacus"], "abacus"),
    "evaluate on unknown data": (["evaluate", "no-such-data", "--model", "{labeler}"], "no-such-data"),
    "evaluate on a missing split": (["evaluate", "{data}:huge", "--model", "{labeler}"], "huge"),
    "evaluate on a missing file": (["evaluate", "./x.conll", "--model", "{labeler}"], "x.conll"),
    "evaluate with a bad map": (["evaluate", "{data}", "--model", "{labeler}", "--map", "PER"], "OLD=NEW"),
    "inspect with a bad plan": (["inspect", "{model}", "--plan", "0012"], "0012"),
    "inspect nothing": (["inspect", "./no-model"], "no-model"),
    "prove with a bad plan": (["prove", "{model}", "--plan", "top:99"], "99"),
    "prove with a bad backend": (["prove", "{model}", "--backend", "abacus"], "abacus"),
    "check a missing file": (["check-data", "./missing.conll"], "missing.conll"),
    "check a file of no format": (["check-data", "{model}/config.yaml"], "config.yaml"),
    "merge nothing": (["merge", "./nothing", "{out}"], "./nothing"),
}


@pytest.fixture
def places(tmp_path, data, labeler_folder, tiny_llama_folder) -> dict[str, str]:
    recipe, latin, broken = tmp_path / "r.toml", tmp_path / "latin.txt", tmp_path / "broken"
    recipe.write_text("[data]\ntrain = 'wnut17'\n[training]\nepoch = 3\n", encoding="utf-8")
    latin.write_bytes(b"London\nZ\xfcrich\n")
    broken.mkdir()
    for split in SENTENCES:
        (broken / f"{split}.conll").write_text(ILL_FORMED, encoding="utf-8")
    return {
        "recipe": recipe, "latin": latin, "broken": broken, "data": data, "labeler": labeler_folder,
        "model": tiny_llama_folder, "out": tmp_path / "out",
    }  # fmt: skip


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_message(run, places, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, named = BAD_INPUT[case]
    status, out, err = run(*(argument.format(**places) for argument in arguments))
    assert status == 1, (out, err)
    message = err[err.index("error: ") :]
    assert named in message
    assert "Traceback" not in out + err


OUT_OF_MEMORY = {
    "GPU": (
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of"
        ),
        "CUDA out of memory. Tried to allocate 2.00 GiB. In training",
    ),
    "torch on a CPU": (
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
        "can't allocate memory",
    ),
    "Python": (MemoryError(), "this machine is out of memory (MemoryError)"),
}


@pytest.mark.parametrize("case", OUT_OF_MEMORY)
def test_memory_that_runs_out_is_one_message(run, monkeypatch, case):
    error, named = OUT_OF_MEMORY[case]
    monkeypatch.setattr("lookboth.labelers.inspect_model", Mock(side_effect=error))
    status, out, err = run("inspect", "a-model")
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    for word in (named, "training.batch_tokens", "training.gradient_checkpointing", "--batch-tokens"):
        assert word in err
    assert ("--device cpu" in err) == (case == "GPU")
    assert "total capacity" not in err


def test_an_error_of_our_own_making_is_not_taken_for_memory(run, monkeypatch):
    monkeypatch.setattr("lookboth.labelers.inspect_model", Mock(side_effect=RuntimeError("a mistake")))
    with pytest.raises(RuntimeError, match="a mistake"):
        run("inspect", "a-model")


def test_wrong_options_say_how_to_use_the_command(run):
    status, _, err = run("predict", "a text", "--format", "xml")
    assert status == 2
    assert "--format" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "command", [["study", "s.toml"], ["search", "--data", "x"], ["serve"], ["predict", "a"]]
)
def test_what_several_processes_cannot_share_is_refused(run, monkeypatch, command):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    status, _, err = run(*command)
    assert status == 1
    assert err.startswith(f"[process 1 of 2] error: lookboth {command[0]}: started as 2 processes")


def test_check_data_shows_file_and_line(run, places):
    status, out, err = run("check-data", places["broken"])
    assert status == 1
    assert "train.conll:3" in out
    assert "Traceback" not in out + err


def test_check_data_passes_clean_data(run, data):
    assert run("check-data", data)[0] == 0


OF_OTHERS = {  # pip, torchrun, git, style sheets
    "--no-deps", "--force-reinstall", "--upgrade", "--nproc-per-node", "--porcelain", "--error-unmatch", "--hue",
}  # fmt: skip
READING = {"--repair", "--scheme", "--word-column", "--tag-column", "--text-field", "--label-field"}


def options_of(command: str) -> set[str]:
    parameters = typer.main.get_command(cli.app).commands[command].params
    return {option for parameter in parameters for option in parameter.opts}


def test_whatever_reads_labeled_data_is_told_how():
    for command in ("check-data", "evaluate", "calibrate", "export"):
        assert options_of(command) >= READING
    for command in ("train", "search"):  # of a recipe, which says the rest
        assert options_of(command) >= {"--repair", "--set"}


def test_messages_name_no_option_that_there_is_not():
    known = OF_OTHERS.union(*map(options_of, typer.main.get_command(cli.app).commands))
    for file in Path(cli.__file__).parent.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", node.value))
                assert named <= known, (file.name, node.lineno)


def test_unusual_columns_are_checked_trained_on_and_scored(run, tiny_llama_folder, tmp_path):
    columns, labeler = ["--word-column", "1", "--tag-column", "2"], tmp_path / "out" / "seed-0" / "labeler"
    for split, text in SENTENCES.items():
        sentences = [enumerate(sentence.split("\n"), 1) for sentence in text.strip("\n").split("\n\n")]
        numbered = "\n\n".join("\n".join(f"{n} {line} _" for n, line in lines) for lines in sentences)
        (tmp_path / f"{split}.conll").write_text(numbered.replace(" ", "\t"), encoding="utf-8")
    status, out, _ = run("check-data", tmp_path)
    assert status == 1
    assert "pass --word-column 1 and --tag-column (in a recipe: data.word_column, data.tag_column)" in out
    assert out.rstrip().endswith("Fix the lines.")
    assert run("check-data", tmp_path, *columns)[0] == 0
    settings = ["data.word_column=1", "data.tag_column=2", "training.epochs=1", "training.precision=fp32"]
    command = ["train", tmp_path, "--model", tiny_llama_folder, "--out", tmp_path / "out"]
    status, out, err = run(*command, *(word for setting in settings for word in ("--set", setting)))
    assert status == 0, out + err
    assert run("evaluate", tmp_path, "-m", labeler)[0] == 1
    status, out, err = run("evaluate", tmp_path, "-m", labeler, *columns)
    assert status == 0, out + err
    assert "at least 20 are needed" in run("calibrate", labeler, tmp_path, *columns)[2]


def test_what_can_be_repaired_says_how_and_it_works(run, places):
    _, out, _ = run("check-data", places["broken"])
    assert out.rstrip().endswith("Fix the lines or pass --repair (in a recipe: data.repair = true).")
    assert run("check-data", places["broken"], "--repair")[0] == 0
    assert "pass --repair" in run("calibrate", places["labeler"], places["broken"])[2]
    assert "at least 20 are needed" in run("calibrate", places["labeler"], places["broken"], "--repair")[2]
    assert "different schemes" not in run("check-data", places["data"], "--scheme", "IOB2")[1]


def test_inspect_draws_the_plan(run, tiny_llama_folder):
    status, out, _ = run("inspect", tiny_llama_folder, "--plan", "0011")
    assert status == 0
    assert "2 causal, 2 bidirectional" in out


@pytest.mark.parametrize("extra", [[], ["--random-weights"], ["--backend", "eager"]])
def test_prove_holds_the_model_against_the_plan(run, tiny_llama_folder, extra):
    status, out, err = run("prove", tiny_llama_folder, "--plan", "0,0,2,*", "--length", "8", *extra)
    assert status == 0, out + err


def test_train_evaluate_predict_merge(run, data, tiny_llama_folder, tmp_path):
    """The whole way, from files to a merged labeler, as a user types it."""
    labeler, runs = tmp_path / "runs" / "seed-0" / "labeler", tmp_path / "runs"
    settings = ["--set", "training.precision=fp32", "--set", "training.epochs=2"]
    command = [
        "train",
        "--data",
        data,
        "--model",
        tiny_llama_folder,
        "--plan",
        "0011",
        "--out",
        runs,
        *settings,
    ]
    status, out, err = run(*command)
    assert status == 0, out + err
    assert f"labeler: {labeler}" in out
    assert json.loads((runs / "seed-0" / "run.json").read_text(encoding="utf-8"))["seed"] == 0
    assert (runs / "seed-0" / "predictions.jsonl").is_file()

    status, out, _ = run("evaluate", data, "--model", labeler, "--out", tmp_path / "scored")
    assert status == 0
    assert (tmp_path / "scored" / "run.json").is_file()

    merged = tmp_path / "merged"
    assert run("merge", labeler, merged)[0] == 0
    outputs = []
    for model in (labeler, merged):
        status, out, _ = run(
            "predict", "Ada was  in London", "--model", model, "--format", "conll", "--precision", "fp32"
        )  # fmt: skip
        assert status == 0
        outputs.append(out)
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") >= 4

    status, _, err = run(*command[:-1], "training.epochs=1")
    assert status == 1
    assert "another recipe" in err


@pytest.mark.parametrize("output", ["text", "jsonl", "conll", "html"])
def test_predict_reads_text_file_and_input(run, labeler_folder, tmp_path, output):
    text = "Ada  Lovelace was in London 👩‍👩‍👧‍👦\n\nthe fox\n"
    file = tmp_path / "texts.txt"
    file.write_text(text, encoding="utf-8")
    options = ["--model", labeler_folder, "--format", output]
    from_file = run("predict", file, *options)
    from_input = run("predict", "-", *options, stdin=text.encode())
    assert from_file[0] == from_input[0] == 0
    assert from_file[1] == from_input[1]
    assert run("predict", "Ada Lovelace", *options)[0] == 0


@pytest.fixture(scope="session")
def streaming_folder(tiny_llama_folder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("streaming") / "labeler"
    tiny_labeler(tiny_llama_folder, plan="0,1,0,1").save_pretrained(folder)
    return folder


def test_predict_streams_standard_input(run, streaming_folder):
    text = "\ufeffAda  Lovelace was in London 👩‍👩‍👧‍👦\n\nthe fox\n"
    options = ["--model", streaming_folder, "--precision", "fp32", "--format"]
    whole = {each: run("predict", text[1:], *options, each)[1] for each in ("conll", "jsonl", "text")}
    found = {each: run("predict", "-", "--stream", *options, each, stdin=text.encode()) for each in whole}
    assert all(status == 0 for status, _, _ in found.values())
    assert found["conll"][1] == whole["conll"].removesuffix("\n")
    updates = [json.loads(line) for line in found["jsonl"][1].splitlines()]
    assert [span for update in updates for span in update["spans"]] == json.loads(whole["jsonl"])["spans"]
    assert all(line.rstrip("\n") in whole["text"] for line in found["text"][1].splitlines())
    greedy = run("predict", "-", "--stream", "--lag", 0, *options, "conll", stdin=text.encode())[1]
    assert len(greedy.splitlines()) == len(found["conll"][1].splitlines())


def test_a_stream_labels_the_text_before_an_invalid_byte(run, streaming_folder):
    options = ["--stream", "--model", streaming_folder, "--format", "conll"]
    status, out, err = run("predict", "-", *options, stdin="Ada was caf\u00e9".encode("latin1"))
    assert (status, [line.split("\t")[0] for line in out.splitlines()]) == (1, ["Ada", "was", "caf"])
    assert "byte 0xe9 is not utf-8" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a text", "--stream"], "predict - --stream"),
        (["-", "--stream", "--out", "x.txt"], "predict - --stream"),
        (["-", "--stream", "--format", "html"], "text, conll, jsonl"),
        (["-", "--lag", "1"], "--stream --lag 0"),
        (["-", "--stream", "--model", "{labeler}"], "plan = 'causal'"),
    ],
    ids=str,
)
def test_what_does_not_stream_is_one_line(run, labeler_folder, options, message):
    named = [str(option).replace("{labeler}", str(labeler_folder)) for option in options]
    status, _, err = run("predict", *named, stdin=b"Ada")
    assert (status, message in err, len(err.strip().splitlines())) == (1, True, 1), err


def test_predicted_offsets_are_into_the_lines(run, labeler_folder):
    lines = ["Ada  Lovelace was in London", "", "  the fox in York\t"]
    options = ["--model", labeler_folder, "--format", "jsonl"]
    _, out, _ = run("predict", "-", *options, stdin="\r\n".join(lines).encode())
    found = [json.loads(line) for line in out.splitlines()]
    assert [record["text"] for record in found] == lines
    for record in found:
        for span in record["spans"]:
            assert record["text"][span["start"] : span["end"]] == span["text"]
    _, out, _ = run("predict", lines[0], *options, "--min-score", "1")
    assert json.loads(out)["spans"] == []


def test_tags_are_only_those_of_spans_that_are_kept(run, labeler_folder, tmp_path):
    text = "Ada Lovelace was in London and the fox was in York with Charles Babbage"
    words = text.split()
    file = tmp_path / "words.conll"
    file.write_text("\n".join(words))
    options = ["predict", file, "--model", labeler_folder, "--precision", "fp32"]
    spans = json.loads(run(*options, "-f", "jsonl")[1])["spans"]
    least = sorted(span["score"] for span in spans)[len(spans) // 2]
    _, out, _ = run(*options, "-f", "jsonl", "--min-score", least)
    kept = json.loads(out)["spans"]
    assert 0 < len(kept) < len(spans)
    _, columns, _ = run(*options, "-f", "conll", "--min-score", least)
    scored = tmp_path / "out.conll"
    scored.write_text(columns)
    (example,) = read_dataset(scored).examples
    texts = [(" ".join(words[span.start : span.end]), span.label) for span in example.spans]
    assert texts == [(span["text"], span["label"]) for span in kept]


@pytest.mark.parametrize("command", ["predict", "suggest"])
def test_what_is_read_is_not_written_over(run, labeler_folder, tmp_path, command):
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"text": "Ada was in London"}\n')
    before = file.read_bytes()
    status, _, err = run(command, file, "--model", labeler_folder, "-f", "jsonl", "--out", file)
    assert status == 1
    assert "is the input file" in err
    assert file.read_bytes() == before


def test_a_run_that_fails_leaves_the_older_result(run, labeler_folder, tmp_path):
    file, out = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    out.write_text("older\n")
    file.write_bytes(b"Ada\n" * 5000 + b"Z\xfcrich\n")
    status, _, err = run("predict", file, "--model", labeler_folder, "-f", "jsonl", "--out", out)
    assert status == 1
    assert "texts.txt:5001: byte 0xfc is not UTF-8" in err
    assert out.read_text() == "older\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "texts.txt"]


def test_options_may_hold_any_character(run, data, tmp_path, monkeypatch):
    """A folder with quotes and backslashes in its name is named back as it was typed."""
    monkeypatch.chdir(tmp_path)
    for name in ("it's", 'a"b', "back\\slash", "new\\name"):
        _, _, err = run("train", "--data", data, "--model", f"./{name}/x")
        assert f"./{name}/x" in err.replace("\\\\", "\\").replace('\\"', '"').replace("\\'", "'")


@pytest.mark.parametrize(("command", "entries"), [("train", "128"), ("study", "128"), ("serve", None)])
def test_trainings_keep_few_prepared_products(run, monkeypatch, command, entries):
    names = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
    for name in names:
        # Set first, so that the end of the test restores the environment.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    assert run(command, "--help")[0] == 0
    assert [os.environ.get(name) for name in names] == [entries, entries]


def test_ctrl_c_says_that_a_run_goes_on(monkeypatch, capsys):
    interrupted = typer.Typer()

    @interrupted.command()
    def command() -> None:
        raise KeyboardInterrupt

    module = sys.modules["lookboth.cli.app"]  # the package has an attribute of that name
    monkeypatch.setattr(module, "app", interrupted)
    monkeypatch.setattr(sys, "argv", ["lookboth"])
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == 130
    assert capsys.readouterr().err.startswith("error: interrupted; ")


@pytest.fixture(scope="module")
def open_folder(tiny_llama_folder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("open") / "labeler"
    tiny_labeler(tiny_llama_folder, plan="0011", head={"kind": "open"}).save_pretrained(folder)
    return folder


def test_labels_are_named_on_the_command_line(run, data, open_folder, tmp_path, caplog):
    text, named = "Ada was in London", 'company, "product: sold, or rented"'
    options = ["--format", "conll", "--precision", "fp32"]
    file = tmp_path / "labels.toml"
    file.write_text('company = ""\nproduct = "sold, or rented"\n', encoding="utf-8")
    status, out, err = run("fix-labels", open_folder, tmp_path / "fixed", "--labels", named)
    assert status == 0, err
    assert "with the labels company, product" in out
    outputs = [
        run("predict", text, "--model", folder, *options, *labels)[1]
        for folder, *labels in (
            (open_folder, "--labels", named),
            (open_folder, "--labels", file),
            (open_folder, "--labels", "company", "--labels", '"product: sold, or rented"'),
            (tmp_path / "fixed",),
        )
    ]
    assert outputs[0] == outputs[1] == outputs[2] == outputs[3]
    assert "-company" in outputs[0] + outputs[1] or "-product" in outputs[0]
    err = run("predict", text, "--model", open_folder, *options)[2]
    assert "labels of its training; name others" in err
    assert "note" not in run("predict", text, "--model", open_folder, *options, "--labels", named)[2]

    status, out, err = run("evaluate", data, "--model", open_folder, "--out", tmp_path / "scored")
    assert status == 0, err
    record = json.loads((tmp_path / "scored" / "run.json").read_text(encoding="utf-8"))
    assert record["config"]["labels"] == ["LOC", "PER"]
    assert "does not have" not in caplog.text
    assert run("evaluate", data, "--model", open_folder, "--labels", "PER, Location")[0] == 0
    assert "the labeler does not have the labels LOC, so their spans count as missed" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "a text", "--model", "{fixed}", "--labels", "company"],
            "labels of this labeler are fixed",
        ),
        (
            ["evaluate", "{data}", "--model", "{fixed}", "--labels", "company"],
            "labels of this labeler are fixed",
        ),
        (["fix-labels", "{fixed}", "{out}", "--labels", "company"], "labels of this labeler are fixed"),
        (["fix-labels", "{open}", "{open}", "--labels", "company"], "is the folder of the labeler itself"),
        (["merge", "{fixed}", "{fixed}/../{name}"], "is the folder of the labeler itself"),
        (["predict", "a text", "--model", "{open}", "--labels", ""], "0 labels are named"),
        (["predict", "a text", "--model", "{open}", "--labels", "a,,b"], "label 2 has an empty name"),
        (["predict", "a text", "--model", "{open}", "--labels", "a, a"], "'a' is named twice"),
        (["calibrate", "{open}", "{data}"], "an open labeler cannot be calibrated"),
    ],
)
def test_labels_that_cannot_be_named_are_refused(
    run, data, labeler_folder, open_folder, tmp_path, arguments, message
):
    places = {"fixed": labeler_folder, "open": open_folder, "data": data, "out": tmp_path / "out"}
    places["name"] = labeler_folder.name
    status, _, err = run(*(argument.format(**places) for argument in arguments))
    assert status == 1
    assert message in err
    assert "Traceback" not in err
