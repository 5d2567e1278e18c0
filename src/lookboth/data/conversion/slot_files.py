"""Readers of the files of slot filling: SNIPS (JSON of text pieces), ATIS (`BOS ... EOS`) and folders with seq.in."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lookboth.data import ProblemLog, Sentence, build_dataset, open_values, read_lines, text_sentence
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.errors import DataError

WORDS_FILE, TAGS_FILE = "seq.in", "seq.out"
_SNIPS = 'write {"Intent": [{"data": [{"text": "play "}, {"text": "jazz", "entity": "genre"}]}]}'
_ATIS = "write BOS words EOS<TAB>tags with one tag per word, then the intent"
_LEFT_OUT = "the line is left out"


def read_snips(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the slots of SNIPS, whose texts are lists of pieces; intents are not converted.

    Args:
        path: the JSON of the benchmark, or a data set of the library snips-nlu.
        options: none apply.
        repair: leave out or widen spans that do not cover whole words instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log, values = open_values(path, _SNIPS, repair=repair)
    log.unit = "utterance "
    utterances = (found for _, value in values for found in find_utterances(value))
    sentences = [_snips(data, number, log) for number, data in enumerate(utterances, 1)]
    if not sentences:
        log.add(1, "json", f"no utterance; {_SNIPS}")
    return Converted(build_dataset([s for s in sentences if s is not None], "IOB2", log))


def find_utterances(value: Any) -> Iterator[list[Any]]:
    """Yield the list of pieces of each utterance inside a JSON value."""
    if isinstance(value, Mapping):
        data = value.get("data")
        if isinstance(data, list) and data and all(isinstance(p, Mapping) and "text" in p for p in data):
            yield data
        else:
            yield from (found for inner in value.values() for found in find_utterances(inner))
    elif isinstance(value, list):
        yield from (found for inner in value for found in find_utterances(inner))


def _snips(pieces: Iterable[Mapping[str, Any]], number: int, log: ProblemLog) -> Sentence | None:
    text, spans = "", []
    for piece in pieces:
        said = piece["text"]
        if not isinstance(said, str):
            log.add(number, "json", f"the text {said!r:.40} is not a string; {_SNIPS}", "it is left out")
            return None
        # snips-nlu has the slot under slot_name, the benchmark under entity.
        label = piece.get("slot_name", piece.get("entity"))
        if label is not None and said.strip():
            start = len(text) + len(said) - len(said.lstrip())
            spans.append({"start": start, "end": len(text) + len(said.rstrip()), "label": label})
        text += said
    return text_sentence(text, spans, number, log)


def read_atis(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read lines of words between BOS and EOS, a tab and the tags; intents are not converted.

    Args:
        path: the file, UTF-8.
        options: none apply.
        repair: repair ill-formed tags and leave out invalid lines instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log = ProblemLog(str(path), repair=repair)
    rows = ((number, *line.partition("\t")[::2]) for number, line in enumerate(read_lines(path, log), 1))
    sentences = [
        _atis(words.split(), tags.split(), number, log) for number, words, tags in rows if words.strip()
    ]
    return Converted(build_dataset([s for s in sentences if s is not None], None, log))


def _atis(words: list[str], tags: list[str], number: int, log: ProblemLog) -> Sentence | None:
    # The intent is in the place of the tag of EOS.
    if words[0] != "BOS" or words[-1] != "EOS" or len(words) != len(tags):
        found = f"{len(words)} words and {len(tags)} tags"
        log.add(number, "columns", f"{found}, or no BOS and EOS; {_ATIS}", _LEFT_OUT)
        return None
    return Sentence(tuple(words[1:-1]), (number,), tuple(tags[1:-1]))


def read_seq_in(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the words of seq.in and the tags of seq.out in one folder, a line per sentence; intents are not converted.

    Args:
        path: the folder, or its seq.in.
        options: none apply.
        repair: repair ill-formed tags and leave out invalid lines instead of reporting them as fatal.

    Raises:
        DataError: if a file is missing, or they have different numbers of lines.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    log = ProblemLog(str(folder / WORDS_FILE), repair=repair)
    words, tags = read_lines(folder / WORDS_FILE, log), read_lines(folder / TAGS_FILE, log)
    if len(words) != len(tags):
        found = f"{len(words)} lines, but {TAGS_FILE} has {len(tags)}"
        raise DataError(f"{folder / WORDS_FILE}: {found}; line n of both is one sentence.")
    sentences = []
    for number, (said, tagged) in enumerate(zip(words, tags, strict=True), 1):
        row, own = said.split(), tagged.split()
        if len(row) != len(own):
            message = f"{len(row)} words, but {len(own)} tags in {TAGS_FILE}; each word has one tag"
            log.add(number, "columns", message, _LEFT_OUT)
        elif row:
            sentences.append(Sentence(tuple(row), (number,), tuple(own)))
    return Converted(build_dataset(sentences, None, log))
