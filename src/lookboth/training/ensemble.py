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
from lookboth.training.teachers import Teacher, find_teachers, require_section
from lookboth.types import Example


@dataclass(frozen=True)
class Ensemble:
    """One or more teachers with the same tags.

    Args:
        config: a recipe with the section [distill].
        teachers: its teachers.
    """

    config: RunConfig
    teachers: Sequence[Teacher]

    @classmethod
    def of(cls, config: RunConfig, folder: Path) -> "Ensemble":
        """Return the teachers of a recipe for a student in `folder`; errors as in `find_teachers`."""
        return cls(config, find_teachers(config, [folder]))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of teachers and student."""
        return self.teachers[0].tag_set.labels

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the student; the teachers have the same ones, in any order."""
        if self.config.task == "classification":
            return self.labels
        return tags_for_labels(self.labels, self.config.scheme)

    def log_probs(self, examples: Sequence[Example], folder: Path) -> list[np.ndarray]:
        """Return the log of the mean probabilities for each example, (w, num_tags) in half precision.

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
            order = [teacher.tag_set.tags.index(tag) for tag in self.tags]
            found = teacher_outputs(teacher, examples, config=self.config, cache=cache)
            of_teachers.append([rows[:, order] for rows in found])
        return [average(rows) for rows in zip(*of_teachers, strict=True)]

    def label(self, example: Example, log_probs: np.ndarray) -> Example:
        """Return an example with the labels that are most probable under `log_probs`, (w, num_tags)."""
        scores = np.nan_to_num(log_probs.astype(np.float32))
        if self.config.task == "classification":
            return replace(example, text_labels=(self.tags[int(scores[0].argmax())],))
        found = decode_tags_constrained(scores, self.tags, self.config.scheme)
        return replace(example, spans=tuple(decode_tags([self.tags[i] for i in found], self.config.scheme)))


def average(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Return the log of the mean probabilities of several teachers, (w, num_tags) in half precision.

    Args:
        outputs: log probabilities of each teacher, with the tags in the same order. Teachers with NaN for a word are
            left out there; if all are, the result is NaN.
    """
    if len(outputs) == 1:
        return outputs[0]
    probs = np.exp(np.stack(outputs).astype(np.float32))
    known = ~np.isnan(probs).any(axis=-1, keepdims=True)
    number = known.sum(axis=0)
    mean = np.where(known, probs, 0).sum(axis=0) / np.maximum(number, 1)
    # 1e-30: the logarithm of 0 is infinite.
    return np.where(number > 0, np.log(np.maximum(mean, 1e-30)), np.nan).astype(np.float16)
