"""Export of labeled data to annotation tools, and the list of their formats."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from lookboth.data import ReadOptions, read_dataset, require_clean
from lookboth.data.conversion.brat import write_brat
from lookboth.data.conversion.doccano import write_doccano
from lookboth.data.conversion.label_studio import write_label_studio
from lookboth.data.conversion.marked import Marked, mark_example
from lookboth.data.conversion.prodigy import write_prodigy
from lookboth.errors import ConfigError, DataError
from lookboth.files import require_other_file, write_whole

# Formats of one file, written piece by piece; brat's format is a folder.
STREAMS: Mapping[str, Callable[[Iterable[Marked]], Iterator[str]]] = MappingProxyType(
    {"label-studio": write_label_studio, "doccano": write_doccano, "prodigy": write_prodigy}
)
TOOLS = (*STREAMS, "brat")


def export(
    tool: str,
    source: str | Path,
    out: str | Path,
    options: ReadOptions | None = None,
) -> int:
    """Write a data file in the format of an annotation tool, with its spans as annotations; return the number of texts.

    Args:
        tool: one of `TOOLS`.
        source: a file that `read_dataset` reads; words without a text are joined by one space.
        out: the file to write; a folder for brat.
        options: how the source is read.

    Raises:
        ConfigError: the tool is unknown, or the output is the source.
        DataError: the source cannot be read without errors, or the output cannot be written.
    """
    if tool not in TOOLS:
        raise ConfigError(f"unknown annotation tool {tool!r}; choose one of {', '.join(TOOLS)}.")
    require_other_file(source, out)
    dataset = read_dataset(source, options)
    require_clean(dataset)
    write_marked(map(mark_example, dataset.examples), tool, out)
    return len(dataset.examples)


def write_marked(texts: Iterable[Marked], tool: str, out: str | Path) -> None:
    """Write texts with their spans in the format of an annotation tool.

    Args:
        texts: the texts, read lazily.
        tool: one of `TOOLS`.
        out: file, or folder for brat.

    Raises:
        DataError: the output cannot be written.
    """
    if tool == "brat":
        write_brat(texts, out)
        return
    try:
        write_whole(Path(out), STREAMS[tool](texts))
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}. Name another file.") from error
