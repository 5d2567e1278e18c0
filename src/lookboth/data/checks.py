"""Checks of the splits of a data set before training, and the report about them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lookboth.data.problems import advise
from lookboth.data.readers import ReadOptions
from lookboth.data.similar_labels import similarity_messages
from lookboth.data.sources import read_part, split_name
from lookboth.data.split_finding import BUILTIN, find_splits, source_path, split_of
from lookboth.types import Dataset, Example, Problem, Task

NUM_SHOWN = 20
# Fewer spans may all be one word long by chance.
MIN_SPANS_TO_JUDGE = 20


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """Counts of one split.

    Args:
        split: name of the split.
        source: the file or data set.
        scheme: tag scheme of the file.
        num_sentences: number of sentences or texts.
        num_words: number of words.
        labels: number of spans (or of whole texts) per label.
    """

    split: str
    source: str
    scheme: str
    num_sentences: int
    num_words: int
    labels: Mapping[str, int]

    @property
    def num_spans(self) -> int:
        """The number of spans of all labels."""
        return sum(self.labels.values())


@dataclass(frozen=True, slots=True)
class DataReport:
    """Result of `check_data`: the counts of each split and all problems.

    Args:
        splits: in the given order.
        problems: problems found by the readers, split by split, then problems between sentences and splits.
    """

    splits: tuple[SplitCounts, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether training accepts the data as they are."""
        return not any(problem.fatal for problem in self.problems)

    def describe(self, num_shown: int = NUM_SHOWN) -> str:
        """Return the report as text, with at most `num_shown` problems of each kind."""
        lines = [_describe_split(counts) for counts in self.splits]
        kinds = Counter((not problem.fatal, problem.kind) for problem in self.problems)
        for (warning, kind), count in sorted(kinds.items()):
            lines += ["", f"{'warning' if warning else 'error'}: {kind} ({count})"]
            of_kind = [p for p in self.problems if p.kind == kind and p.fatal is not warning]
            lines += [_describe_problem(problem) for problem in of_kind[:num_shown]]
            if count > num_shown:
                lines.append(f"  ... and {count - num_shown} more")
        return "\n".join([*lines, "", self._verdict()])

    def _verdict(self) -> str:
        fatal = [problem for problem in self.problems if problem.fatal]
        counts = f"Errors: {len(fatal)}, warnings: {len(self.problems) - len(fatal)}."
        return f"{counts} {advise(fatal) if fatal else 'Ready to train.'}"


def check_data(
    sources: Sequence[str | Path] | Mapping[str, str | Path],
    options: ReadOptions | None = None,
) -> DataReport:
    """Read the sources and report all errors and warnings.

    Errors stop training: invalid lines and ill-formed tags. Warnings do not: labels that do not occur in train,
    duplicate sentences, labels that differ only in letter case or blanks, and others.

    Args:
        sources: files, folders, built-in names or hub ids, or a mapping of split name to source. ":split" after a
            source names one split or a part of it; without it all splits are read. The split of a file is taken from
            its name; a file without one is "train".
        options: how files are read. Without a task, built-in data are read by their own task, others as labeled words.
            With `repair`, the report has the problems that remain after a repair.

    Raises:
        DataError: if a source does not exist or cannot be read at all.
    """
    datasets = _read_all(sources, options or ReadOptions())
    problems = [problem for _, dataset in datasets for problem in dataset.problems]
    problems += [*_empty_splits(datasets), *_check_schemes(datasets), *_check_labels(datasets)]
    problems += _find_duplicates(datasets)
    return DataReport(tuple(count_split(split, dataset) for split, dataset in datasets), tuple(problems))


def _read_all(
    sources: Sequence[str | Path] | Mapping[str, str | Path], options: ReadOptions
) -> list[tuple[str, Dataset]]:
    # A string is also a sequence, of characters.
    if isinstance(sources, str | Path):
        sources = [sources]
    read = []
    for split, source in sources.items() if isinstance(sources, Mapping) else ((None, s) for s in sources):
        name, wanted = split_name(str(source), split or "")
        how = replace(options, task=options.task or _task_of(name))
        for part in [wanted] if wanted else _splits_of(name, how.kind):
            read.append((split or part, read_part(name, part, how)))
    return read


def _task_of(name: str) -> Task:
    kind = BUILTIN.get(name, "labeling")
    return "labeling" if kind == "text" else kind


def _splits_of(source: str, task: Task) -> Sequence[str]:
    path = source_path(source)
    return (split_of(path) or "train",) if path.is_file() else find_splits(source, task)


def count_split(split: str, dataset: Dataset) -> SplitCounts:
    """Count the sentences, words and labels of a split."""
    examples = dataset.examples
    labels = Counter(label for example in examples for label in example.labels())
    num_words = sum(len(example.words) for example in examples)
    by_count = dict(sorted(labels.items(), key=lambda item: (-item[1], item[0])))
    return SplitCounts(split, dataset.name, dataset.scheme, len(examples), num_words, by_count)


def _empty_splits(datasets: Sequence[tuple[str, Dataset]]) -> list[Problem]:
    found = []
    for split, dataset in datasets:
        where = f"{dataset.name}:1"
        if not dataset.examples and not any(problem.fatal for problem in dataset.problems):
            found.append(Problem(where, f"the {split} split has no sentences", "empty-file"))
        elif dataset.examples and not dataset.labels():
            found.append(Problem(where, f"the {split} split has no labels", "no-labels", fatal=False))
    return found


def _check_schemes(datasets: Sequence[tuple[str, Dataset]]) -> list[Problem]:
    labeled = [(split, dataset) for split, dataset in datasets if dataset.labels()]
    if len({dataset.scheme for _, dataset in labeled}) < 2:
        return []
    schemes = ", ".join(f"{split} {dataset.scheme}" for split, dataset in labeled)
    advice = "pass --scheme (in a recipe: data.scheme) if one was detected wrongly"
    message = f"the splits seem to use different schemes: {schemes}; {advice}"
    return [Problem(f"{labeled[0][1].name}:1", message, "scheme", fatal=False)]


def _check_labels(datasets: Sequence[tuple[str, Dataset]]) -> list[Problem]:
    found: list[Problem] = []
    in_train = {label for split, dataset in datasets if split == "train" for label in dataset.labels()}
    for split, dataset in datasets:
        for label, example in _first_examples(dataset).items():
            # Without a train split no label can be missing in it.
            if in_train and label not in in_train:
                message = f"label {label!r} of {split} does not occur in train; it cannot be learned"
                found.append(Problem(example.source, message, "label-not-in-train", fatal=False))
        if dataset.scheme not in ("plain", "text"):
            found += _one_word_labels(dataset)
    return [*found, *_check_names(datasets)]


def _check_names(datasets: Sequence[tuple[str, Dataset]]) -> list[Problem]:
    """Return a warning for labels of all splits whose names differ only in letter case or blanks."""
    counts = Counter(label for _, data in datasets for example in data.examples for label in example.labels())
    first = {
        label: example for _, data in reversed(datasets) for label, example in _first_examples(data).items()
    }
    return [
        Problem(first[label].source, message, "label-case", fatal=False)
        for label, message in similarity_messages(counts)
    ]


def _first_examples(dataset: Dataset) -> dict[str, Example]:
    first: dict[str, Example] = {}
    for example in dataset.examples:
        for label in example.labels():
            first.setdefault(label, example)
    return dict(sorted(first.items()))


def _one_word_labels(dataset: Dataset) -> list[Problem]:
    """Return a warning for each label whose spans are all one word long: its 'I-' tags may have been lost."""
    longest: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for example in dataset.examples:
        for span in example.spans:
            longest[span.label] = max(longest[span.label], span.end - span.start)
            counts[span.label] += 1
    return [
        Problem(
            f"{dataset.name}:1",
            f"all {counts[label]} spans of {label!r} are one word long; check that no 'I-' tags were lost",
            "one-word-label",
            fatal=False,
        )
        for label in sorted(counts)
        if longest[label] == 1 and counts[label] >= MIN_SPANS_TO_JUDGE
    ]


def _find_duplicates(datasets: Sequence[tuple[str, Dataset]]) -> list[Problem]:
    first: dict[tuple[str, ...], tuple[str, Example]] = {}
    found: list[Problem] = []
    for split, dataset in datasets:
        for example in dataset.examples:
            # Labels are not part of the key: the same words with other labels are a conflict.
            before_split, before = first.setdefault(example.words, (split, example))
            if before is not example:
                found += _duplicates_of(split, example, before_split, before)
    return found


def _duplicates_of(split: str, example: Example, before_split: str, before: Example) -> list[Problem]:
    shown = " ".join(example.words[:6]) + (" ..." if len(example.words) > 6 else "")
    across = split != before_split
    place = f"{before.source} in {before_split}" if across else before.source
    message = f"the same {len(example.words)} words as {place}: {shown!r}"
    kind = "duplicate-across-splits" if across else "duplicate"
    found = [Problem(example.source, message, kind, fatal=False)]
    if example.labels() != before.labels() or example.spans != before.spans:
        found.append(
            Problem(example.source, f"{message}, labeled differently", "label-conflict", fatal=False)
        )
    return found


def _describe_split(counts: SplitCounts) -> str:
    labels = ", ".join(f"{label} {count:,}" for label, count in counts.labels.items())
    units = ("texts", "labels") if counts.scheme == "text" else ("sentences", "spans")
    return (
        f"{counts.split}: {counts.source} ({counts.scheme})\n"
        f"  {counts.num_sentences:,} {units[0]}, {counts.num_words:,} words, {counts.num_spans:,} {units[1]}"
        f"{': ' + labels if labels else ''}"
    )


def _describe_problem(problem: Problem) -> str:
    if not problem.repaired:
        return f"  {problem}"
    return f"  {problem} [{'--repair' if problem.fatal else 'repaired'}: {problem.repaired}]"
