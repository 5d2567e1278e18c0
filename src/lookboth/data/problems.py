"""Logs of the problems in a file, so that one pass over it reports all of them."""

from collections import Counter
from collections.abc import Sequence

from lookboth.errors import DataError
from lookboth.types import Dataset, Problem

NUM_SHOWN = 10
# Problems of a whole file that an option solves, so that fixing lines is the wrong advice.
_QUESTIONS = ("tag-style", "encoding", "fields", "offsets")


class ProblemLog:
    """Collects the problems of one file in any order and returns them in file order.

    Args:
        name: the file or data set as the user named it; messages start with "name:line".
        repair: whether problems with a repair are repaired and therefore not fatal.
        unit: unit of the numbers if they are not lines, for example "record ".
    """

    def __init__(self, name: str, *, repair: bool = False, unit: str = "") -> None:
        self.name = name
        self.repair = repair
        self.unit = unit
        self._found: list[tuple[int, Problem]] = []
        self._once: set[str] = set()

    def where(self, line: int) -> str:
        """Return "name:line", or "name:record 3"."""
        return f"{self.name}:{self.unit}{line}"

    def add(self, line: int, kind: str, message: str, repaired: str = "", *, fatal: bool = True) -> None:
        """Log a problem; lone surrogates in it are escaped.

        Args:
            line: line or number of the record.
            kind: short name of the kind of problem.
            message: what was found and what is allowed.
            repaired: what the repair does; "" if there is none.
            fatal: whether the problem stops training unless it is repaired.
        """
        fatal = fatal and not (self.repair and repaired)
        message, repaired = map(_printable, (message, repaired))
        self._found.append((line, Problem(self.where(line), message, kind, repaired, fatal)))

    def add_once(self, line: int, kind: str, message: str) -> None:
        """Log a warning about the whole file, unless one of its kind is logged."""
        if kind not in self._once:
            self._once.add(kind)
            self.add(line, kind, message, fatal=False)

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems in file order."""
        return tuple(problem for _, problem in sorted(self._found, key=lambda found: found[0]))


def _printable(text: str) -> str:
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


class StrictLog(ProblemLog):
    """Raises an error at the first fatal problem; for lines that are processed while they are read."""

    def add(self, line: int, kind: str, message: str, repaired: str = "", *, fatal: bool = True) -> None:
        """Raise a DataError for a fatal problem; ignore others."""
        if fatal:
            raise DataError(f"{self.where(line)}: {message}. Fix the line.")


def require_clean(dataset: Dataset) -> None:
    """Check that a data set has no fatal problems; the error lists the first ten.

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
        where = "`lookboth check-data` (for a conversion: `lookboth convert --repair`) lists all"
        shown.append(f"... and {len(fatal) - NUM_SHOWN} more (in all: {kinds}); {where}.")
    noun = "problem" if len(fatal) == 1 else "problems"
    raise DataError("\n".join([f"{dataset.name}: {len(fatal)} {noun}", *shown, advise(fatal)]))


def advise(fatal: Sequence[Problem]) -> str:
    """Return the advice that ends a message about fatal problems."""
    lost = sum(not problem.repaired for problem in fatal)
    if all(problem.kind in _QUESTIONS and not problem.repaired for problem in fatal):
        return "Read the file as the message advises."
    if lost == len(fatal):
        return "Fix the lines."
    some = f" ({lost} of them cannot be repaired automatically.)" if lost else ""
    return f"Fix the lines or pass --repair (in a recipe: data.repair = true).{some}"
