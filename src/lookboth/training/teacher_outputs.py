"""Outputs of teachers on disk: computed once per teacher and text, in files that are written as a whole."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from lookboth.config import DistillConfig, RunConfig
from lookboth.data import text_of, words_around
from lookboth.errors import DataError
from lookboth.files import write_whole
from lookboth.labelers import open_labeler
from lookboth.training.process_group import on_rank_zero
from lookboth.training.teachers import Teacher, predict_log_probs, require_section
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)
_SUFFIX = ".safetensors"
_KEY_BYTES = 16
# Words per file: a killed run loses the outputs of at most one file.
_FILE_WORDS = 4000


def teacher_outputs(
    teacher: Teacher,
    examples: Sequence[Example],
    *,
    config: RunConfig,
    cache: Path,
) -> list[np.ndarray]:
    """Return the teacher's log probabilities of each example in half precision, one (w, num_tags) array each.

    Outputs on disk are reused. Their key consists of the hash of the teacher's files, the precision and the text, so a
    changed teacher or text has outputs of its own.

    Args:
        teacher: the teacher.
        examples: the texts, none of them empty; labels are ignored.
        config: a recipe with the section [distill]; teachers compute in the precision of the training.
        cache: folder of the outputs of all teachers.

    Raises:
        DataError: the outputs would be larger than `distill.cache_gb`.
    """
    folder = cache / f"{teacher.digest[:32]}-{config.training.precision}"
    distinct = {text_key(example, teacher): example for example in examples}
    _require_size(teacher, distinct, require_section(config), folder)
    on_rank_zero(lambda: _compute_missing(teacher, distinct, folder, config))
    found = read_outputs(folder, distinct, len(teacher.tag_set.tags))
    return [found[text_key(example, teacher)] for example in examples]


def text_key(example: Example, teacher: Teacher) -> bytes:
    """Return a hash of what the teacher reads of an example: its words, with context also those around it, or its
    whole text.
    """
    read: Any = text_of(example) if teacher.tag_set.task == "classification" else example.words
    if teacher.context and len(example.document) > 1:
        # A word has at least one token, so these are all words that the teacher may read.
        read = (read, words_around(example, teacher.context))
    return hashlib.sha256(json.dumps(read).encode()).digest()[:_KEY_BYTES]


def read_outputs(folder: Path, wanted: Mapping[bytes, Example], num_tags: int) -> dict[bytes, np.ndarray]:
    """Return the stored outputs of the wanted texts; damaged files are ignored, so they are computed again.

    Args:
        folder: folder of the outputs of one teacher.
        wanted: the texts by key.
        num_tags: number of tags of the teacher.
    """
    found: dict[bytes, np.ndarray] = {}
    for file in sorted(folder.glob(f"*{_SUFFIX}")):
        for key, rows in _read_file(file, num_tags):
            if key in wanted:
                found.setdefault(key, rows)
    return found


def _require_size(
    teacher: Teacher,
    distinct: Mapping[bytes, Example],
    section: DistillConfig,
    folder: Path,
) -> None:
    """Report the size of the outputs before they are computed, and refuse it if it is too large."""
    num_words, num_tags = sum(map(_num_rows(teacher), distinct.values())), len(teacher.tag_set.tags)
    size = num_words * num_tags * np.dtype(np.float16).itemsize / 1e6
    what = f"outputs of the teacher {teacher.name!r}: {num_words:,} words x {num_tags} tags, {size:,.1f} MB"
    if size > 1000 * section.cache_gb:
        raise DataError(
            f"{what}, and distill.cache_gb = {section.cache_gb:g}. Set a larger value, or use a part of the text, for "
            "example distill.texts = 'NAME:train[:10%]'."
        )
    LOGGER.info(f"{what} in {folder}")


def _num_rows(teacher: Teacher) -> Callable[[Example], int]:
    """Return a function for the number of rows of an example's outputs."""
    return (lambda _: 1) if teacher.tag_set.task == "classification" else lambda example: len(example.words)


def _compute_missing(
    teacher: Teacher,
    distinct: Mapping[bytes, Example],
    folder: Path,
    config: RunConfig,
) -> None:
    """Compute and write the outputs that are not on disk."""
    stored = read_outputs(folder, distinct, len(teacher.tag_set.tags))
    # Texts are divided into files before any is skipped, so that a resumed run computes the same batches as an
    # uninterrupted one.
    todo = [[key for key in part if key not in stored] for part in _parts(distinct)]
    todo = [part for part in todo if part]
    if not todo:
        LOGGER.info(f"outputs of the teacher {teacher.name!r} are complete; it is not loaded")
        return
    labeler = open_labeler(
        teacher.folder, precision=config.training.precision, trust_remote_code=config.trust_remote_code
    )
    total, done, shown = sum(map(len, todo)), 0, 0
    for part in todo:
        rows = predict_log_probs(teacher, labeler, [distinct[key] for key in part])
        _write_file(folder, part, rows)
        done += len(part)
        # One line per tenth.
        if 10 * done // total > shown:
            shown = 10 * done // total
            LOGGER.info(f"outputs of the teacher {teacher.name!r}: {done:,} of {total:,} texts")


def _parts(distinct: Mapping[bytes, Example]) -> list[list[bytes]]:
    """Return the keys of each file: consecutive texts with about `_FILE_WORDS` words."""
    parts: list[list[bytes]] = [[]]
    num_words = 0
    for key, example in distinct.items():
        parts[-1].append(key)
        num_words += len(example.words)
        if num_words >= _FILE_WORDS:
            parts.append([])
            num_words = 0
    return parts


def _write_file(folder: Path, keys: Sequence[bytes], outputs: Sequence[np.ndarray]) -> None:
    # The name follows from the texts, so computing a damaged file again replaces it.
    name = hashlib.sha256(b"".join(keys)).hexdigest()[:32]
    ends = np.cumsum([0, *map(len, outputs)])
    content: dict[str, np.ndarray] = {
        "keys": np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), _KEY_BYTES),
        "ends": ends.astype(np.int64),
        "log_probs": np.concatenate(outputs).astype(np.float16),
    }
    write_whole(folder / f"{name}{_SUFFIX}", [save(content)], follow_links=False)


def _read_file(file: Path, num_tags: int) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yield key and outputs of each text of a file; nothing if the file is damaged."""
    try:
        stored = load(file.read_bytes())
        keys, ends, rows = stored["keys"], stored["ends"], stored["log_probs"]
    except (SafetensorError, KeyError):
        return
    if rows.shape[1:] == (num_tags,) and rows.shape[0] == ends[-1] and len(ends) == len(keys) + 1:
        for key, (start, end) in zip(keys, pairwise(ends), strict=True):
            yield key.tobytes(), rows[start:end]
