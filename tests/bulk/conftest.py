"""A tiny labeler, and bulk runs without Ray: one part after the other in this process."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from lookboth.bulk import bulk_run as run
from lookboth.bulk.worker import PartLabeler


@pytest.fixture(scope="session")
def labeler_folder(tiny_llama_folder, tmp_path_factory) -> Path:
    from tiny import tiny_labeler

    folder = tmp_path_factory.mktemp("bulk") / "labeler"
    tiny_labeler(tiny_llama_folder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def labeler(labeler_folder):
    from lookboth import Labeler

    return Labeler.from_pretrained(labeler_folder, device="cpu", merge=True)


@pytest.fixture
def without_ray(monkeypatch, labeler) -> list[int]:
    """Label in this process; gives the numbers of the parts that were handed out."""
    handed: list[int] = []

    def label_parts(job, parts, workers) -> Iterator:
        worker = PartLabeler(job)
        worker.__dict__["_labelers"] = {
            "": labeler
        }  # the one that is loaded; the workers of Ray load their own
        for number in parts:
            handed.append(number)
            yield worker.label_part(number)

    monkeypatch.setattr(run, "connected", lambda workers: nullcontext())
    monkeypatch.setattr(run, "label_parts", label_parts)
    return handed
