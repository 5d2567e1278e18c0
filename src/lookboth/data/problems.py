"""Where readers write down what they find, so that one pass over a file reports everything."""

from collections import Counter
from collections.abc import Sequence

from lookboth.errors import DataError
from lookboth.types import Dataset, Problem

NUM_SHOWN = 10
_QUESTIONS = ("tag-style", "encoding", "fields", "offsets")  # problems of a whole file that an option answers


class ProblemLog:
    """Collects the problems of one file, in any order, and gives them back in file order.

    Args:
        name: the file or data set as the user named it; messages start with "name:line".
        repair: whether problems that have a repair are repaired, and so no longer fatal.
        unit: what is counted where lines are not, for example "record ".
    """

    def __init__(self, name: str, *, repair: bool = False, unit: str = "") -> None:
        self.name = name
        self.repair = repair
        self.unit = unit
        self._found: list[tuple[int, Problem]] = []

    def where(self, line: int) -> str:
        """Return "name:line", or "name:record 3"."""
        return f"{self.name}:{self.unit}{line}"

    def add(self, line: int, kind: str, message: str, repaired: str = "", *, fatal: bool = True) -> None:
        """Note a problem; `repaired` says what a repair does, "" where there is none. Lone surrogates are escaped."""
        fatal = fatal and not (self.repair and repaired)
        message, repaired = map(_printable, (message, repaired))
        self._found.append((line, Problem(self.where(line), message, kind, repaired, fatal)))

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems in file order."""
        return tuple(problem for _, problem in sorted(self._found, key=lambda found: found[0]))


def _printable(text: str) -> str:
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


class StrictLog(ProblemLog):
    """Stops at the first fatal problem, for lines that are used as they come."""

    def add(self, line: int, kind: str, message: str, repaired: str = "", *, fatal: bool = True) -> None:
        """Raise a DataError of a fatal problem; others are passed over."""
        if fatal:
            raise DataError(f"{self.where(line)}: {message}. Fix the line.")


def require_clean(dataset: Dataset) -> None:
    """Refuse a data set with fatal problems, naming the first ten.

    Raises:
        DataError: if any problem is fatal.
    """
    fatal = [problem for problem in dataset.problems if problem.fatal]
    if not fatal:
        return
    shown = [
        f"{problem}." if not str(problem).endswith(".") else str(problem) for problem in fatal[:NUM_SHOWN]
    ]
    if len(fatal) > NUM_SHOWN:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(p.kind for p in fatal).items()))
        where = "`lookboth check-data`, or `lookboth convert --repair` where it was converted, shows all"
        shown.append(f"... and {len(fatal) - NUM_SHOWN} more (in all: {kinds}); {where}.")
    noun = "problem" if len(fatal) == 1 else "problems"
    raise DataError("\n".join([f"{dataset.name}: {len(fatal)} {noun}", *shown, advise(fatal)]))


def advise(fatal: Sequence[Problem]) -> str:
    """Return what can be done about fatal problems."""
    lost = sum(not problem.repaired for problem in fatal)
    if all(problem.kind in _QUESTIONS and not problem.repaired for problem in fatal):
        return "Read the file as the message says."
    if lost == len(fatal):
        return "Fix the lines."
    some = f" ({lost} of them cannot be repaired automatically.)" if lost else ""
    return f"Fix the lines or pass --repair (in a recipe: data.repair = true).{some}"
