"""The language of code and pages: idioms that CONTRIBUTING.md rules out, and what to write instead."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "lookboth"
_COUNTED = "(?:words|tokens|texts|sentences|tags|spans|labels|rows|columns|lines|passes|steps|bytes|batches|processes)"
# A unit after "one X a": "one tag a word".
_UNIT = (
    "(?:word|line|token|layer|text|tag|row|span|label|seed|head|group|part|file|worker|GPU|core|process|batch|"
    "request|sentence|plan|setting|step|epoch|second|minute|model)"
)
OLD = {
    rf"\b(?:one(?: (?!on |in |of |for |is |needs )[\w-]+)?|{_COUNTED}) an? {_UNIT}\b": "per: one tag per word",
    r"\b(?:go|goes|went|gone|going) on\b(?! (?:a|the) )": "resumes, continues",
    r"\b(?:held|hold|holds|holding) (?:it |them |every \w+ )?against\b": "compared with, checked against",
    r"\banew\b": "again; recomputed",
    r"\b(?:in|into) force\b": "applied, active",
    r"\bput in once more\b": "sequence repetition (repetition = 1)",
    r"\bso many [\w-]+s\b(?! that\b)": "a number, n, up to N",
    r"\bstands? (?:in|beside|between)\b(?! for\b)": "is in, is next to",
    r"\bnothing to see\b": "has no tokens",
    r"\blook(?:s|ing)? (?:to the )?right\b": "attends to the right",
    r"(?<!two )(?<!both )(?<!upper )(?<!lower )\bhalves only\b": "half precision",
    r"\bthe lessons\b": "training examples",
    r"\bwhatever\b": "regardless of, every",
    r"(?<![Tt]here )\b(?:is|was) no (?!longer\b|more\b|such\b|one\b|faster\b|better\b)": "is not",
    r"\b(?:whoever|nobody|anybody|somebody)\b": "a plain subject",
    r"(?<![Tt]here )\bare no (?!more|longer)": "are not",
    r"\bsaid of\b": "stated about",
    r"\bwhat is made of\b": "the output of",
    r"\bspeaks?\b": "reports, logs; rank 0",
    r"\bas rare as promised\b": "controls the family-wise error rate",
    r"\bunsaid\b": "silently",
    r"\bno part of\b": "not part of",
}
# Allowed phrases by file: labels of recorded results.
EXCEPTIONS: dict[str, tuple[str, ...]] = {}
# First lines of files of the package, which are checked there.
_FILE_MAP = re.compile(r"<!-- file map.*?<!-- end of file map -->", re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that users and developers read; reports of experiments are records and stay as they were."""
    names = (
        "README.md",
        "CHANGELOG.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "experiments/README.md",
    )
    return sorted([*(ROOT / name for name in names), *(ROOT / "docs").glob("*.md")])


def sources() -> list[Path]:
    """Return the files of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def old_phrases(text: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """Return what a text should say in other words, each with its line and a proposal."""
    text = _FILE_MAP.sub(_blank, text)
    for phrase in allowed:
        text = text.replace(phrase, "")
    return [
        f"line {text.count(chr(10), 0, match.start()) + 1}: {match[0]!r} -> {instead}"
        for pattern, instead in OLD.items()
        for match in re.finditer(pattern, text)
    ]


def _blank(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


@pytest.mark.parametrize("path", [*pages(), *sources()], ids=lambda path: str(path.relative_to(ROOT)))
def test_texts_are_written_in_plain_technical_english(path):
    allowed = EXCEPTIONS.get(path.relative_to(ROOT).as_posix(), ())
    assert old_phrases(path.read_text(encoding="utf-8"), allowed) == []


def test_exceptions_are_needed():
    for name, phrases in EXCEPTIONS.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        assert all(phrase in text for phrase in phrases), name


@pytest.mark.parametrize(
    "phrase",
    [
        "one tag a word",
        "725 words a second",
        "a killed run goes on",
        "held against torch",
        "layers that look right",
    ],
)
def test_old_phrases_are_found(phrase):
    assert len(old_phrases(f"\nIt is {phrase}.")) == 1


def test_plain_sentences_pass():
    assert (
        old_phrases("One tag per word; a run resumes. It depends on a word, and both halves of a pair count.")
        == []
    )


def test_the_glossary_defines_each_term_once():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Glossary\n")[2]
    terms = re.findall(r"^\| \*\*([^*]+)\*\* \|", page, re.MULTILINE)
    assert len(terms) >= 25
    assert len(set(terms)) == len(terms)
