"""Reader and writer of brat's standoff format: a text file and an .ann file with one line per annotation.

Each line of a text becomes an example. Shared tasks (BioNLP) have .a1 and .a2 instead of one .ann file.
brat_entities.py parses the lines of annotations.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from lookboth.data import CharSpan, ProblemLog, as_one_document, build_dataset, read_whole
from lookboth.data.conversion.brat_entities import read_entities
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.line_units import line_sentences
from lookboth.data.conversion.marked import Marked, MarkedSpan
from lookboth.errors import DataError
from lookboth.files import write_whole
from lookboth.types import Dataset, Problem

# brat shows a document on one page, so documents are kept short.
TEXTS_A_DOCUMENT = 100
_COLLECTION = ("*.txt", "*.ann", "annotation.conf")
_SUFFIXES = (".ann", ".a1", ".a2")
_SURROGATES = re.compile("[\ud800-\udfff]")


def read_brat(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the entities (and event triggers) of one document, or of all documents in a folder and its subfolders.

    Each line of a document is an example; lines that an entity connects are one example. Discontinuous entities are
    problems; the repair leaves them out. Annotations of other types are not converted, and their number is logged.

    Args:
        path: a .txt, .ann, .a1 or .a2 file, or a folder of such documents.
        options: `several`.
        repair: leave out or widen spans that cannot be converted instead of reporting them as fatal.

    Raises:
        DataError: if a file is missing or cannot be read at all.
    """
    path = Path(path)
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path.with_suffix(".txt")]
    if not files:
        raise DataError(f"{path}: no .txt files in the folder; a document of brat is NAME.txt and NAME.ann.")
    annotated = [file for file in files if _annotation_files(file)]
    if not annotated:
        missing = files[0].with_suffix(".ann")
        raise DataError(
            f"{missing}: no such file; brat has an .ann file (maybe empty; or .a1 and .a2) next to {files[0].name}."
        )
    documents = [_read_document(file, options.several, repair=repair) for file in annotated]
    examples = tuple(example for document in documents for example in document.examples)
    problems = [problem for document in documents for problem in document.problems]
    return Converted(Dataset(examples, "IOB2", (*_alone(path, files, repair=repair), *problems), str(path)))


def _annotation_files(file: Path) -> list[Path]:
    """Return the annotation files of a text: NAME.ann, or NAME.a1 and NAME.a2."""
    return [other for suffix in _SUFFIXES if (other := file.with_suffix(suffix)).is_file()]


def _alone(path: Path, files: Sequence[Path], *, repair: bool) -> Iterator[Problem]:
    """Yield a problem for each text without an annotation file and each annotation file without a text."""
    texts = set(files)
    for file in files if path.is_dir() else ():
        if not _annotation_files(file):
            message = "there is no .ann file next to it; the text is left out"
            yield Problem(f"{file}:1", message, "not-annotated", fatal=False)
    for file in sorted(path.rglob("*.a*")) if path.is_dir() else ():
        if file.suffix in _SUFFIXES and file.with_suffix(".txt") not in texts:
            message = f"there is no {file.stem}.txt next to it"
            yield Problem(f"{file}:1", message, "not-annotated", "it is left out", fatal=not repair)


def write_brat(texts: Iterable[Marked], folder: str | Path) -> int:
    """Write numbered documents with one text per line and an annotation.conf; return the number of documents.

    A score is written as a note on its entity. A span that crosses a line end is written in pieces, as in brat itself.

    Args:
        texts: the texts, read lazily.
        folder: created if missing; it must not hold documents or an annotation.conf.

    Raises:
        DataError: the folder holds such files or cannot be written, or a label contains white space.
    """
    folder = Path(folder)
    there = next((file for pattern in _COLLECTION for file in sorted(folder.glob(pattern))), None)
    if there is not None:
        raise DataError(
            f"{folder}: there is {there.name} in the folder; existing documents are not changed. Name a new folder."
        )
    labels: set[str] = set()
    number, stream = 0, iter(texts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while some := list(islice(stream, TEXTS_A_DOCUMENT)):
            number += 1
            text, annotations = render_document(some)
            labels |= {span.label for marked in some for span in marked.spans}
            for suffix, content in ((".txt", text), (".ann", annotations)):
                write_whole(folder / f"{number:04d}{suffix}", [content])
        sections = "".join(f"\n[{name}]\n" for name in ("relations", "events", "attributes"))
        entities = "".join(f"{label}\n" for label in sorted(labels))
        write_whole(folder / "annotation.conf", [f"[entities]\n{entities}{sections}"])
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}. Name another folder.") from error
    return number


def render_document(texts: Sequence[Marked]) -> tuple[str, str]:
    r"""Return the contents of the .txt and the .ann file, one text per line.

    Lone surrogates, which UTF-8 cannot encode, become U+FFFD.

    Raises:
        DataError: a label contains white space.

    >>> render_document([Marked("In Rome", ((0, 2), (3, 7)), (MarkedSpan(3, 7, "LOC", 1, 2),))])
    ('In Rome\n', 'T1\tLOC 3 7\tRome\n')
    """
    lines: list[str] = []
    position = number = 0
    for marked in texts:
        text = _SURROGATES.sub("\ufffd", marked.text)
        for span in marked.spans:
            number += 1
            lines += _render_span(span, text, position, number)
        position += len(text) + 1
    content = "".join(_SURROGATES.sub("\ufffd", marked.text) + "\n" for marked in texts)
    return content, "".join(f"{line}\n" for line in lines)


def _render_span(span: MarkedSpan, text: str, position: int, number: int) -> Iterator[str]:
    if not span.label or any(char.isspace() for char in span.label):
        raise DataError(f"the label {span.label!r}: brat allows no white space in labels. Rename it.")
    pieces = [(m.start() + span.start, m.end() + span.start) for m in _pieces(text[span.start : span.end])]
    places = ";".join(f"{position + start} {position + end}" for start, end in pieces)
    said = " ".join(text[start:end] for start, end in pieces)
    yield f"T{number}\t{span.label} {places}\t{said}"
    if span.score is not None:
        yield f"#{number}\tAnnotatorNotes T{number}\tscore {span.score}"


def _pieces(text: str) -> Iterator[re.Match[str]]:
    """Find the parts of a span on each line, without surrounding white space."""
    return re.finditer(r"[^\s](?:[^\n]*[^\s])?", text)


def _read_document(file: Path, several: str | None, *, repair: bool) -> Dataset:
    text_log = ProblemLog(str(file), repair=repair)
    text = read_whole(file)
    entities: list[CharSpan] = []
    problems: list[Problem] = []
    for annotations in _annotation_files(file):
        log = ProblemLog(str(annotations), repair=repair)
        entities += read_entities(annotations, text, log)
        problems += log.problems()
    dataset = build_dataset(line_sentences(text, entities, text_log, several=several), "IOB2", text_log)
    examples = as_one_document(dataset.examples)
    return Dataset(examples, "IOB2", (*problems, *dataset.problems), str(file))
