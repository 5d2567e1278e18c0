"""The teachers of a recipe as one: mean probabilities over the tags of the student, and the labels that follow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lookboth.config import RunConfig
from lookboth.data import decode_tags, tags_for_labels
from lookboth.inference import decode_tags_constrained
from lookboth.run_folder import RunFolder
from lookboth.training.teacher_outputs import teacher_outputs
from lookboth.training.teachers import EXCLUDED, Teacher, find_teachers, require_section
from lookboth.types import Example


@dataclass(frozen=True)
class Ensemble:
    """One or more teachers with the same tags.

    Args:
        config: a recipe with the section [distill].
        teachers: its teachers.
        new_labels: labels of the student that the teachers do not know.
    """

    config: RunConfig
    teachers: Sequence[Teacher]
    new_labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: RunConfig, folder: Path, labels: Sequence[str] = ()) -> "Ensemble":
        """Return the teachers of a recipe for a student in `folder`; errors as in `find_teachers`.

        Args:
            config, folder: the recipe, and the run folder of the student.
            labels: labels of the student besides those of the teachers.
        """
        teachers = find_teachers(config, [folder])
        return cls(config, teachers, tuple(sorted(set(labels) - set(teachers[0].tag_set.labels))))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the student."""
        known = self.teachers[0].tag_set.labels
        return tuple(sorted((*known, *self.new_labels))) if self.new_labels else known

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the student; the teachers have the same ones, in any order, but those of new labels."""
        if self.config.task == "classification":
            return self.labels
        return tags_for_labels(self.labels, self.config.scheme)

    def log_probs(self, examples: Sequence[Example], folder: Path) -> list[np.ndarray]:
        """Return the log of the mean probabilities for each example, (w, num_tags) in half precision; NaN for new tags.

        Args:
            examples: the texts, none of them empty.
            folder: run folder of the student; without distill.cache the outputs are stored next to it.

        Raises:
            DataError, ModelError: see `teacher_outputs` and `predict_log_probs`.
        """
        section = require_section(self.config)
        # The folder of all seeds, because the outputs do not depend on the seed.
        cache = Path(section.cache) if section.cache else RunFolder(folder.parent).teacher_outputs
        of_teachers = []
        for teacher in self.teachers:
            found = teacher_outputs(teacher, examples, config=self.config, cache=cache)
            of_teachers.append([_in_order(rows, teacher.tag_set.tags, self.tags) for rows in found])
        return [average(rows) for rows in zip(*of_teachers, strict=True)]

    def label(self, example: Example, log_probs: np.ndarray) -> Example:
        """Return an example with the labels that are most probable under `log_probs`, (w, num_tags)."""
        scores = np.nan_to_num(log_probs.astype(np.float32), nan=EXCLUDED)
        if self.config.task == "classification":
            return replace(example, text_labels=(self.tags[int(scores[0].argmax())],))
        found = decode_tags_constrained(scores, self.tags, self.config.scheme)
        return replace(example, spans=tuple(decode_tags([self.tags[i] for i in found], self.config.scheme)))


def average(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Return the log of the mean probabilities of several teachers, (w, num_tags) in half precision.

    Args:
        outputs: log probabilities of each teacher, with the tags in the same order, NaN for tags that none knows.
            Teachers with only NaN for a word are left out there; if all are, the result is NaN.
    """
    if len(outputs) == 1:
        return outputs[0]
    probs = np.exp(np.stack(outputs).astype(np.float32))
    known = ~np.isnan(probs).all(axis=-1, keepdims=True)
    number = known.sum(axis=0)
    mean = np.where(known, probs, 0).sum(axis=0) / np.maximum(number, 1)
    # 1e-30: the logarithm of 0 is infinite.
    return np.where(number > 0, np.log(np.maximum(mean, 1e-30)), np.nan).astype(np.float16)


def _in_order(rows: np.ndarray, tags: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Return log probabilities with the columns of the wanted tags; NaN for those that are not among `tags`."""
    places = {tag: column for column, tag in enumerate(tags)}
    ordered = np.full((len(rows), len(wanted)), np.nan, dtype=rows.dtype)
    for column, tag in enumerate(wanted):
        if tag in places:
            ordered[:, column] = rows[:, places[tag]]
    return ordered
