"""Files that are written are whole or as they were; nothing is written over what is read."""

import ast
import os
import stat
import threading
from pathlib import Path

import pytest

import lookboth
from lookboth.errors import ConfigError
from lookboth.files import read_state, require_other_file, whole_file, write_json, write_whole


def failing(piece="new\n"):
    yield piece
    raise ValueError("in the middle")


def test_what_was_there_stays_until_the_new_is_whole(tmp_path):
    file = tmp_path / "out.txt"
    write_whole(file, ["old\n"])
    with pytest.raises(ValueError, match="in the middle"):
        write_whole(file, failing())
    assert file.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [file]
    write_whole(file, (piece for piece in (file.read_text(), "new \ud800\n")))
    assert file.read_bytes() == b"old\nnew \\ud800\n"


def test_a_new_file_is_as_private_as_the_user_wishes_and_an_old_one_stays_so(tmp_path):
    new, old = tmp_path / "deep" / "new", tmp_path / "old"
    old.write_text("old")
    old.chmod(0o640)
    before = os.umask(0o027)
    try:
        for file in (new, old):
            write_whole(file, ["x"])
    finally:
        os.umask(before)
    assert [stat.S_IMODE(file.stat().st_mode) for file in (new, old)] == [0o640, 0o640]
    old.chmod(0o600)
    write_whole(old, ["y"])
    assert stat.S_IMODE(old.stat().st_mode) == 0o600


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link", tmp_path / "folder" / "target"
    link.symlink_to(target)
    write_whole(link, ["x"])
    assert link.is_symlink()
    assert target.read_text() == "x"


@pytest.mark.parametrize("target", ["there", "missing"])
def test_in_a_folder_of_ours_a_link_is_replaced(tmp_path, target):
    (tmp_path / "there").write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / target)
    write_json(link, {"a": "\ud800é"})
    assert not link.is_symlink()
    assert link.read_text() == '{\n  "a": "\\ud800é"\n}\n'
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "missing").exists()


def test_the_unfinished_file_may_lie_elsewhere(tmp_path):
    (tmp_path / "work").mkdir()
    seen = []

    def pieces():
        yield b"\xff"
        seen.extend((list(tmp_path.glob("*")), list((tmp_path / "work").iterdir())))
        yield "text"

    write_whole(tmp_path / "out", pieces(), work=tmp_path / "work")
    assert seen[0] == [tmp_path / "work"]
    assert len(seen[1]) == 1
    assert (tmp_path / "out").read_bytes() == b"\xfftext"


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"a": [1, 2', b"\0\0\0\0", b"\xff", b"null", b"[]"])
def test_state_that_a_kill_has_cut_counts_as_not_there(tmp_path, content):
    file = tmp_path / "state.json"
    if content is not None:
        file.write_bytes(content)
    assert read_state(file, lambda stored: float(stored["a"])) is None
    write_json(file, {"a": 2})
    assert read_state(file, lambda stored: float(stored["a"])) == 2.0


# Files in a temporary folder that is moved as a whole, files of `whole_file`, and a log that grows line by line.
IN_PLACE = {
    "files.py",
    "models/builtin_models.py",
    "onnx/int8.py",
    "study/cell_run.py",
    "data/conversion/writing.py",
    "audit/out_of_fold.py",
    "data/relabeling.py",
}


def test_nothing_else_writes_files():
    package = Path(lookboth.__file__).parent
    found = set()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _writes(node):
                found.add(file.relative_to(package).as_posix())
    assert found <= IN_PLACE


def _writes(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    modes = {arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
    return name in {"write_text", "write_bytes"} or (
        name == "open" and any(set(m) & set("wax") for m in modes)
    )


def test_a_pipe_is_written_as_it_stands(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, ["a\n", "b\n"])
    reader.join(10)
    assert got == ["a\nb\n"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_stream_of_the_shell_is_gone_on_with(tmp_path):
    """/dev/fd/N may lead to a file that others write as well: it is not moved out of their way."""
    with (tmp_path / "log").open("wb") as log:
        log.write(b"head\n")
        log.flush()
        write_whole(type(tmp_path)(f"/dev/fd/{log.fileno()}"), ["x\n"])
    assert (tmp_path / "log").read_text() == "head\nx\n"


def test_the_file_to_fill_has_the_suffix_of_the_one_it_becomes(tmp_path):
    with whole_file(tmp_path / "a.conll") as work:
        work.write_text("x")
        assert work.suffix == ".conll"
        assert not (tmp_path / "a.conll").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["a.conll"]


def test_nothing_is_written_over_what_is_read(tmp_path):
    file, other = tmp_path / "a", tmp_path / "b"
    for path in (file, other):
        path.write_text(path.name)
    (tmp_path / "link").symlink_to(file)
    for out in (file, tmp_path / "." / "a", tmp_path / "link"):
        with pytest.raises(ConfigError, match="is the input file"):
            require_other_file(str(file), out)
    require_other_file(file, other)
    require_other_file(file, tmp_path / "new")
    for text in ("a text", "x" * 100_000, "a\0b", ""):
        require_other_file(text, file)
    require_other_file("/dev/null", "/dev/null")
