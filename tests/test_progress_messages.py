"""Progress is logged; the command line and studies turn it into lines, and Python users configure logging."""

import logging

import pytest

from lookboth.demo import _print_steps
from lookboth.progress import progress_to, silence_progress, without_progress
from lookboth.training.process_group import join_process_group

LOGGER = logging.getLogger("lookboth.training.any")


@pytest.fixture(autouse=True)
def _as_before():
    yield
    logging.getLogger("lookboth").setLevel(logging.NOTSET)


def test_messages_become_lines_inside_the_context_only():
    lines, inner = [], []
    with progress_to(lines.append):
        LOGGER.info("step 1 of 100 %s {x}")
        with progress_to(inner.append):
            LOGGER.warning("too long")
        LOGGER.debug("detail")
    LOGGER.info("later")
    assert lines == ["step 1 of 100 %s {x}", "Warning: too long"]
    assert inner == lines[1:]


def test_without_configuration_python_prints_warnings_only(capfd, monkeypatch):
    # pytest's own handlers would take the place of the fallback that writes warnings to standard error.
    monkeypatch.setattr(logging.getLogger("lookboth"), "propagate", False)
    LOGGER.info("step 1")
    LOGGER.warning("too long")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "too long\n")


def test_trials_are_silent_and_progress_comes_back():
    lines = []
    with progress_to(lines.append):
        with without_progress():
            LOGGER.warning("diverged")
        LOGGER.info("scored")
        silence_progress()
        LOGGER.info("from another rank")
    assert lines == ["scored"]


def test_an_error_of_the_reader_ends_the_run():
    def closed(_):
        raise BrokenPipeError

    with progress_to(closed), pytest.raises(BrokenPipeError):
        LOGGER.info("step 1")


def test_only_rank_zero_logs(monkeypatch):
    monkeypatch.setattr("accelerate.PartialState", lambda **_: None)
    monkeypatch.setattr("lookboth.training.process_group.check_launch", lambda _: None)
    seen = {}
    for rank in ("0", "1"):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        lines = seen[rank] = []
        with progress_to(lines.append):
            join_process_group()
            LOGGER.info("step 1")
    assert seen == {"0": ["step 1"], "1": []}


def test_the_demo_shows_steps_only(capsys):
    with progress_to(_print_steps):
        LOGGER.info("model x")
        LOGGER.info("step 5: dev 1.00")
    assert capsys.readouterr().out == "step 5: dev 1.00\n"
