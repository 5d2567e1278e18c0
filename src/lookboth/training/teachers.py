"""The teachers of a distillation: saved labelers with the same tags, and what they predict for a text."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lookboth.config import DistillConfig, RunConfig
from lookboth.data import NESTED, tags_for_labels
from lookboth.errors import ConfigError, ModelError
from lookboth.inference import HeadLabeler, LabelingConfig, TextLabeler, example_scores, log_probs_of
from lookboth.labelers import (
    find_folder,
    labeling_from_dict,
    model_digest,
    parse_settings,
    read_settings,
    setting,
    strings,
)
from lookboth.types import Example, Prediction, Task

# Log probability of a tag that a teacher excludes; finite, because infinity times 0 is not a number.
EXCLUDED = -1e4
_UNREADABLE = {"unparseable", "unfinished"}


class TagSet(NamedTuple):
    """The tags of a labeler.

    Args:
        task: whether words or whole texts are labeled; scheme: tag scheme.
        labels: the labels, in order; tags: the tags, in order of the outputs.
    """

    task: Task
    scheme: str
    labels: tuple[str, ...]
    tags: tuple[str, ...]


class Teacher(NamedTuple):
    """A saved labeler that teaches.

    Args:
        name: its name in the recipe; folder: where it is.
        digest: hash of all its files.
        tag_set: its tags, as saved.
        context: most tokens of a document that it reads on each side of a sentence.
    """

    name: str
    folder: Path
    digest: str
    tag_set: TagSet
    context: int = 0


def require_section(config: RunConfig) -> DistillConfig:
    """Return the section [distill] of a recipe.

    Raises:
        ConfigError: the recipe has none.
    """
    if config.distill is None:
        raise ConfigError(
            "the recipe has no section [distill]. Set for example distill.teachers = ['FOLDER']."
        )
    return config.distill


def find_teachers(config: RunConfig, folders: Iterable[Path]) -> list[Teacher]:
    """Return the teachers of a recipe with the section [distill]; no weights are loaded.

    Args:
        config: a recipe.
        folders: run folders of the student.

    Raises:
        ModelError: a teacher does not exist or is not a saved labeler.
        ConfigError: teachers with different tags, another task or scheme than the recipe, or in a run folder.
    """
    teachers = []
    for name in require_section(config).teachers:
        folder = find_folder(name)
        for run in folders:
            _require_apart(name, folder.resolve(), run.resolve())
        settings = read_tag_set(folder), _read_context(folder)
        teachers.append(Teacher(name, folder, model_digest(folder), *settings))
    _require_same_tags(teachers)
    _require_recipe(config, teachers[0])
    return teachers


def describe_teacher(name: str) -> dict[str, str]:
    """Return the recipe keys that a student takes from a teacher: task and scheme.

    Raises:
        ModelError: `name` is not a saved labeler.
    """
    tag_set = read_tag_set(find_folder(name))
    if tag_set.task == "classification":
        return {"task": tag_set.task}
    return {"task": tag_set.task, "scheme": tag_set.scheme}


def read_tag_set(folder: Path) -> TagSet:
    """Return the tags of the saved labeler of any kind in `folder`.

    Raises:
        ModelError: `folder` is not a saved labeler.
    """
    found = parse_settings(folder, read_settings(folder), _parse_tag_set)
    if found.scheme == NESTED:
        raise ModelError(f"{folder}: spans of this labeler may overlap, so it cannot teach one tag per word.")
    return found


def _read_context(folder: Path) -> int:
    """Return the most tokens of context that a saved labeler reads on each side; generative ones read none."""
    settings = read_settings(folder)
    if not settings.get("context"):
        return 0
    return LabelingConfig(**parse_settings(folder, settings, labeling_from_dict)).window_sizes.side


def predict_log_probs(
    teacher: Teacher, labeler: TextLabeler, examples: Sequence[Example]
) -> list[np.ndarray]:
    """Return the log probability of each tag for each word, (w, num_tags); for a whole text, (1, num_tags).

    The probability of a generative labeler is 1 for the tag that it generates. Words of an answer that cannot be parsed
    are NaN.

    Args:
        teacher: the teacher.
        labeler: its labeler, loaded.
        examples: the texts, none of them empty.

    Raises:
        ModelError: the labeler is multi-label, or its scores are not finite.
    """
    if not isinstance(labeler, HeadLabeler):
        predictions = labeler.label_chunk(examples, batch_tokens=None)
        return [_generated(prediction, teacher.tag_set.tags) for prediction in predictions]
    if labeler.config.multi_label:
        raise ModelError(
            f"teacher {teacher.name!r}: a text may have several labels, which cannot be distilled. "
            "Name a teacher with one label per word or text."
        )
    rows = log_probs_of(labeler, example_scores(labeler, examples))
    if not all(np.isfinite(row).all() for row in rows):
        raise ModelError(
            f"teacher {teacher.name!r}: scores are infinite or NaN. Set training.precision = 'fp32'."
        )
    return [np.maximum(row, EXCLUDED) for row in rows]


def _parse_tag_set(data: Any) -> TagSet:
    # Only generative labelers are saved without id2label.
    if "id2label" not in data:
        labels, scheme = tuple(strings(data, "labels")), setting(data, "scheme", str)
        return TagSet("labeling", scheme, labels, tuple(tags_for_labels(labels, scheme)))
    config = LabelingConfig(**labeling_from_dict(data))
    return TagSet(config.task, config.scheme, config.labels, config.tags)


def _generated(prediction: Prediction, tags: Sequence[str]) -> np.ndarray:
    """Return the log probabilities of generated tags, shape (w, num_tags)."""
    rows = np.full((len(prediction.words), len(tags)), EXCLUDED, dtype=np.float32)
    if _UNREADABLE & set(prediction.problems):
        return np.full_like(rows, np.nan)
    for row, tag in zip(rows, prediction.tags, strict=True):
        row[tags.index(tag)] = 0.0
    return rows


def _require_apart(name: str, teacher: Path, run: Path) -> None:
    if run == teacher or run in teacher.parents or teacher in run.parents:
        raise ConfigError(
            f"teacher {name!r}: the student would be written into the same folder ({run}). Give another --out."
        )


def _require_same_tags(teachers: Sequence[Teacher]) -> None:
    first = teachers[0]
    for other in teachers[1:]:
        if other.digest == first.digest:
            raise ConfigError(f"teachers {first.name!r} and {other.name!r} are the same labeler. Remove one.")
        # The order may differ: `Ensemble.log_probs` sorts the columns.
        one, two = set(first.tag_set.tags), set(other.tag_set.tags)
        if one != two or first.tag_set.scheme != other.tag_set.scheme:
            raise ConfigError(
                f"teachers {first.name!r} and {other.name!r} have different tags: {_only(one - two)} and "
                f"{_only(two - one)}. Their probabilities can be averaged only over the same tags."
            )


def _only(tags: Iterable[str]) -> str:
    return f"only {', '.join(sorted(tags))}" if tags else "no other"


def _require_recipe(config: RunConfig, teacher: Teacher) -> None:
    """Refuse a recipe with another task or scheme than the teacher."""
    taught = {"task": teacher.tag_set.task, "scheme": teacher.tag_set.scheme}
    if config.task == "classification" == taught["task"]:
        del taught["scheme"]
    for key, value in taught.items():
        if getattr(config, key) != value:
            raise ConfigError(
                f"{key} = {getattr(config, key)!r}: the teacher {teacher.name!r} has {value!r}, and the student takes "
                f"its tags. Set {key} = {value!r}."
            )
