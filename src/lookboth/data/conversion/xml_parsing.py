"""Parser of XML that expands no entities and knows the line of each element."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from lookboth.data import read_bytes
from lookboth.errors import DataError


def parse_xml(
    path: str | Path, numbered: str, read: tuple[str, ...], kind: str, *, doctype: bool = False
) -> tuple[ElementTree.Element, list[int]]:
    """Return the root of a document and the line of each element of one name.

    Declared entities are refused because a few nested ones expand to gigabytes; external files are never opened.

    Args:
        path: the file; its encoding is the one that its first line declares.
        numbered: name of the elements whose lines are returned.
        read: names of the elements that the caller looks for; they must not be in a namespace.
        kind: name of the format, for messages.
        doctype: whether a document type declaration without entities is allowed.

    Raises:
        DataError: if the file cannot be read, is not XML, or has a declaration or a namespace that is refused.
    """
    lines: list[int] = []
    # With this separator, elements have the same names as in ElementTree.
    parser = expat.ParserCreate(namespace_separator="}")
    content = read_bytes(path)
    if doctype:
        parser.EntityDeclHandler = _refusal(path, parser, "<!ENTITY>", "since it can expand to gigabytes")
    else:
        parser.StartDoctypeDeclHandler = _refusal(path, parser, "<!DOCTYPE>", "since it can declare entities")

    def note_line(name: str, _: dict[str, str]) -> None:
        namespace, local = name.rpartition("}")[::2]
        if namespace and local in read:
            found = f"<{local}> is in the namespace {namespace!r:.80}; {kind} has no namespaces"
            raise DataError(f"{path}:{parser.CurrentLineNumber}: {found}. Delete the xmlns.")
        if name == numbered:
            lines.append(parser.CurrentLineNumber)

    parser.StartElementHandler = note_line
    try:
        parser.Parse(content, True)
        return ElementTree.fromstring(content), lines
    except expat.ExpatError as error:
        raise DataError(f"{path}:{error.lineno}: not XML: {expat.errors.messages[error.code]}.") from error
    # Raised for the encoding that the first line declares.
    except (LookupError, ValueError) as error:
        advice = "Convert the file to UTF-8 and declare that in its first line"
        raise DataError(f"{path}:1: the encoding is not supported: {error}. {advice}.") from error


def _refusal(path: str | Path, parser: expat.XMLParserType, what: str, why: str) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise DataError(f"{path}:{parser.CurrentLineNumber}: {what} is not allowed, {why}. Delete it.")

    return refuse
