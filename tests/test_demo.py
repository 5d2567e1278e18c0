"""The demo shows its progress from the start."""

import io
import sys

import pytest

from lookboth import demo


def test_the_first_heading_appears_before_the_labeler_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()

    def load() -> None:
        assert b"== 1." in written.getvalue()
        raise InterruptedError

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written))
    monkeypatch.setattr("lookboth.labelers.Labeler.from_pretrained", load)
    with pytest.raises(InterruptedError):
        demo.run_demo("unused")
