"""The command line of a bulk run, and the page about it."""

import inspect
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lookboth.bulk import rows, worker
from lookboth.bulk.bulk_options import BulkOptions
from lookboth.cli import app
from lookboth.cli.service_commands import bulk

PAGE = (Path(__file__).parents[2] / "docs" / "bulk.md").read_text(encoding="utf-8")


def test_options_mean_the_same_on_the_command_line():
    given = inspect.signature(bulk).parameters
    for field in fields(BulkOptions):
        # Lists are None on the command line if they are not given.
        if field.name not in {"keep", "labels", "part_rows"}:
            assert given[field.name].default == field.default, field.name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.txt", "out"], "missing.txt: no such file"),
        (["abc://x/y", "out"], "abc"),
        (["in.txt", "out", "--model", "./nothing"], "./nothing"),
        (["in.txt", "in.txt"], "is in the input folder"),
        (["in.txt", "other.txt"], "other.txt is a file"),
        (["in.txt", "out", "--format", "csv"], "output format 'csv' is unknown; allowed: parquet, jsonl"),
        (
            ["in.txt", "out", "--precision", "fp8"],
            "precision 'fp8' is unknown; allowed: auto, bf16, fp16, fp32",
        ),
        (
            ["in.txt", "out", "--thresholds"],
            "the labeler does not have thresholds yet. Type: lookboth calibrate",
        ),
        (["in.txt", "out", "--keep", "row"], "'row' is a column of the result"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_started(
    tmp_path, monkeypatch, labeler_folder, arguments, said
):
    monkeypatch.chdir(tmp_path)
    for name in ("in.txt", "other.txt"):
        Path(name).write_text("one\n")
    model = [] if "--model" in arguments else ["--model", str(labeler_folder)]
    error = CliRunner().invoke(app, ["bulk", *arguments, *model]).exception
    assert said in str(error)
    assert not Path("out").exists()


def test_nothing_heavy_is_imported_before_the_work():
    imports = "import sys, lookboth.bulk.bulk_run, lookboth.cli"
    code = imports + "; print({'ray', 'torch', 'transformers'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found == "set()\n"


def test_the_page_knows_every_reason():
    source = inspect.getsource(rows) + inspect.getsource(worker)
    reasons = set(re.findall(r'(?:_InvalidRow|invalidate)\(\s*"([a-z0-9-]+)"', source))
    table = PAGE[PAGE.index("| reason |") : PAGE.index("## Interrupted runs")]
    assert reasons == set(re.findall(r"`([a-z0-9][a-z0-9-]*)`", table.replace("`_bad`", ""))) - {"ud83d"}
    assert len(reasons) >= 9
