"""One exported labeler for every test that needs just any."""

from pathlib import Path

import pytest
from making import WORDS, export_to, make


@pytest.fixture(scope="session")
def exported_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    return export_to(make(folder / "base", WORDS["linear"]), folder / "out")


@pytest.fixture(scope="session")
def same_in_torch(tmp_path_factory):
    """What it was exported from, its adapter still apart: the same seeds make the same weights."""
    return make(tmp_path_factory.mktemp("torch") / "base", WORDS["linear"])
