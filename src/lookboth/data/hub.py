"""Reader of data sets of the Hugging Face `datasets` library: hub ids and folders it saved."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lookboth.data.classification import LabeledText, build_text_dataset, parse_labels
from lookboth.data.fields import (
    OTHER_FIELDS,
    OTHER_TAG_FIELDS,
    TAG_FIELDS,
    TEXT_FIELDS,
    WORD_FIELDS,
    FieldNames,
    choose_tag_field,
)
from lookboth.data.jsonl import parse_tagged
from lookboth.data.problems import ProblemLog
from lookboth.data.sentences import Sentence, build_dataset
from lookboth.errors import ConfigError, DataError
from lookboth.types import Dataset

# The name of the dev split in most data sets of the hub.
HUB_SPLITS = {"dev": "validation"}


def read_hub(
    name: str,
    split: str,
    *,
    config: str | None = None,
    word_field: str | None = None,
    tag_field: str | None = None,
    scheme: str | None = None,
    repair: bool = False,
    head: str | None = None,
) -> Dataset:
    """Read one split of a hub data set, or of a folder written by `save_to_disk`.

    Args:
        name: hub id or folder.
        split: "train", "dev" (also found as "validation"), "test" or the data set's own name.
        config: configuration of the data set, if it has several.
        word_field, tag_field: the columns; None: the first of `fields.WORD_FIELDS`, and the one that
            `fields.choose_tag_field` finds.
        scheme: tag scheme, one of `schemes.SCHEMES`, or None to detect it.
        repair: apply the repair of each invalid row instead of reporting the row as fatal.
        head: scheme of the head that will use the data; see `tag_reading.choose_reading`.

    Raises:
        ConfigError: if the `datasets` library is missing.
        DataError: if the data set, the split or a column does not exist or cannot be loaded.
    """
    rows = _load(name, split, config)
    words = _choose_field(word_field, WORD_FIELDS, rows.column_names, name, "text")
    tags = _choose_tags(tag_field, rows.column_names, name)
    names = _tag_names(rows.features[tags])
    log = ProblemLog(f"{name}/{split}", repair=repair)
    # Only the columns that are read: decoding others (audio, images) takes long.
    pairs = ((row[words], row[tags]) for row in rows.select_columns([words, tags]))
    return build_dataset(_sentences(pairs, names, log, (words, tags)), scheme, log, head=head)


def read_hub_texts(
    name: str,
    split: str,
    *,
    text_field: str | None = None,
    label_field: str | None = None,
    repair: bool = False,
) -> Dataset:
    """Read one split of a data set whose labels belong to whole texts.

    Args:
        name, split: as in `read_hub`.
        text_field, label_field: the columns; None: the first of `fields.TEXT_FIELDS` and of `fields.LABEL_FIELDS`.
        repair: apply the repair of each invalid row instead of reporting the row as fatal.

    Raises:
        ConfigError: if the `datasets` library is missing.
        DataError: if the data set, the split or a column does not exist or cannot be loaded.
    """
    rows = _load(name, split, None)
    fields = FieldNames.of(text_field, label_field)
    found = fields.find(rows.column_names)
    if found is None:
        present = ", ".join(rows.column_names)
        raise DataError(f"{name}: needs columns {fields}; there are {present}; {OTHER_FIELDS}")
    text, label = found
    names = _tag_names(rows.features[label])
    log = ProblemLog(f"{name}/{split}", repair=repair)
    pairs = ((row[text], row[label]) for row in rows.select_columns([text, label]))
    return build_text_dataset(_texts(pairs, names, log), log)


def read_hub_raw(name: str, split: str, text_field: str | None = None) -> list[str]:
    """Return the raw texts of one split: its text column, or the words of each row joined by spaces.

    Args:
        name, split: as in `read_hub`.
        text_field: preferred column; the usual columns are used if it does not exist.

    Raises:
        ConfigError: if the `datasets` library is missing.
        DataError: if the data set, the split or a column does not exist or cannot be loaded.
    """
    rows = _load(name, split, None)
    usual = (*filter(None, [text_field]), *TEXT_FIELDS, *WORD_FIELDS)
    field = _choose_field(None, usual, rows.column_names, name, "text")
    values = (row[field] for row in rows.select_columns([field]))
    return [value if isinstance(value, str) else " ".join(value) for value in values if value]


def is_saved_folder(path: Path) -> bool:
    """Return whether `datasets` wrote this folder with `save_to_disk`."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def saved_splits(path: Path) -> tuple[str, ...]:
    """Return the splits of a folder written by `save_to_disk`; ("train",) if it has no splits."""
    if (path / "state.json").is_file():
        return ("train",)
    found = {child.name for child in path.iterdir() if child.is_dir()}
    return tuple(s for s in ("train", "dev", "test") if s in found or HUB_SPLITS.get(s) in found)


def _sentences(
    pairs: Iterable[tuple[Any, Any]], names: Sequence[str] | None, log: ProblemLog, columns: tuple[str, str]
) -> list[Sentence]:
    sentences = []
    for number, (words, tags) in enumerate(pairs, 1):
        if names is not None and isinstance(tags, list):
            tags = [_name_of(tag, names) for tag in tags]
        sentence = parse_tagged(words, tags, number, names=columns)
        if isinstance(sentence, Sentence):
            sentences.append(sentence)
        else:
            log.add(number, "row", sentence, "the row is left out")
    return sentences


def _name_of(tag: Any, names: Sequence[str]) -> Any:
    """Return the name of a class; a value without a name is kept, so that it is reported with its row."""
    return names[tag] if isinstance(tag, int) and 0 <= tag < len(names) else tag


def _texts(
    pairs: Iterable[tuple[Any, Any]], names: Sequence[str] | None, log: ProblemLog
) -> Iterator[LabeledText]:
    for number, (text, value) in enumerate(pairs, 1):
        labels = parse_labels(value, names)
        if isinstance(labels, str):
            log.add(number, "row", labels, "the row is left out")
        elif not isinstance(text, str):
            log.add(number, "row", f"the text {text!r:.40} is not a string", "the row is left out")
        else:
            yield LabeledText(number, text, labels, isinstance(value, list))


def _load(name: str, split: str, config: str | None) -> Any:
    try:
        import datasets
    except ImportError:
        message = f"{name!r} needs the datasets library. Install it: pip install 'lookboth[data]'."
        raise ConfigError(message) from None
    try:
        saved = is_saved_folder(Path(name))
        found = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, config)
    # The library and its back ends raise a dozen unrelated exception types.
    except Exception as error:
        raise DataError(
            f"{name}: cannot be loaded by datasets: {error}. Check the name and the network."
        ) from error
    if isinstance(found, datasets.Dataset):
        return found
    for candidate in (split, HUB_SPLITS.get(split)):
        if candidate in found:
            return found[candidate]
    raise DataError(f"{name}: no split {split!r}; there are {', '.join(found)}. Name one of them.")


def _choose_field(
    given: str | None, usual: Sequence[str], present: Sequence[str], name: str, kind: str
) -> str:
    for field in (given,) if given else usual:
        if field in present:
            return field
    wanted = given or " or ".join(usual)
    raise DataError(
        f"{name}: no column {wanted}; there are {', '.join(present)}. "
        f"Name the column: --{kind}-field, in a recipe data.{kind}_field."
    )


def _choose_tags(given: str | None, present: Sequence[str], name: str) -> str:
    found = choose_tag_field(present) if given is None else given
    if isinstance(found, list):
        raise DataError(
            f"{name}: columns {' and '.join(found)} both look like labels. "
            f"Name one: --label-field {found[0]}, in a recipe data.label_field."
        )
    return _choose_field(found, (*TAG_FIELDS, *OTHER_TAG_FIELDS), present, name, "label")


def _tag_names(feature: Any) -> list[str] | None:
    """Return the class names of a column of numbers (ClassLabel), or None for a column of strings."""
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
    return getattr(inner, "names", None)
