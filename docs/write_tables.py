"""Update the result tables of README.md and docs, and the file map: python docs/write_tables.py"""

import ast
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

from speed_tables import (
    RESULTS,
    equal_f1_table,
    growth_table,
    mean_and_sd,
    real_growth_table,
    speed_table,
    tagger_table,
)

ROOT = Path(__file__).resolve().parent.parent
PAGES = tuple(
    ROOT / page
    for page in (
        "README.md",
        "ARCHITECTURE.md",
        "docs/distillation.md",
        "docs/recipes.md",
        "docs/scale.md",
        "docs/search.md",
        "docs/speed.md",
    )
)
ORDER = (
    "__init__",
    "types",
    "errors",
    "files",
    "memory",
    "quiet",
    "run_folder",
    "masking/",
    "data/",
    "config/",
    "inference/",
    "models/",
    "labelers/",
    "evaluation/",
    "integrations/",
    "bulk/",
    "training/",
    "onnx/",
    "generative/",
    "search/",
    "study/",
    "serving/",
    "reporting/",
    "demo",
    "cli/",
)
SHORT_RUNS = {
    "demo": "MAMS, aspect terms with polarity, 1,500 sentences (`make demo`)",
    "demo_ner": "UNER EWT, names, 2,000 sentences",
    "open_ner": "UNER EWT, names, 18,902 sentences (`recipes/open_ner.toml`)",
}
TRUTHS = {
    "plan_truth/pos": "POS",
    "plan_truth/ner": "names",
    "plan_truth/pos_gemma": "POS, Gemma 3 270M",
    "smollm2_small/absa": "aspect terms (tuned)",
    "smollm2_small/pos": "POS (tuned)",
}
REPETITION = {
    "plan_truth/ner/0000": ("`causal`, 3 epochs", "1"),
    "plan_truth/ner/0011": ("`0011`, 3 epochs", "1"),
    "repetition/ner/upper_half_longer": ("`0011`, 6 epochs", "2"),
    "repetition/ner/repeated": ("`causal`, repetition = 1, 3 epochs", "2"),
    "repetition/ner/repeated_upper_half": ("`0011`, repetition = 1, 3 epochs", "2"),
}
WHOLE_DATA = {
    "causal": "SmolLM2-135M, `causal`",
    "0011": "SmolLM2-135M, `0011`",
    "repetition": "SmolLM2-135M, `0011`, repetition = 1",
    "gemma": "Gemma 3 270M, `0011`",
}
DISTILLED = {
    "0011": "teacher, 30 layers",
    "distilled": "`shipped`, 30 layers",
    "fast": "`fast`, 12 layers",
    "fast_usual_case": "the same in the usual letter case",
    "turbo": "`turbo`, 4 layers",
    "turbo_usual_case": "the same in the usual letter case",
}
TEST_SETS = {
    "uner_en_pud": "UNER PUD (news, Wikipedia; never trained on)",
    "uner_en_ewt": "UNER EWT test (web)",
    "wikigold": "WikiGold test (Wikipedia; never trained on)",
}


def file_map() -> str:
    """Return one line per file: package files in the order of imports, then recipes and experiments."""
    package = ROOT / "src" / "lookboth"
    files = [path for path in package.rglob("*.py") if path.name != "__init__.py" or path.parent == package]
    names = sorted((str(path.relative_to(package)) for path in files), key=_place)
    rows = [("src/lookboth/", "")] + [("  " + name, _first_line(package / name)) for name in names]
    for folder in ("recipes", "experiments"):
        paths = sorted(path for path in (ROOT / folder).iterdir() if path.suffix in {".toml", ".py"})
        rows += [(folder + "/", "")] + [("  " + path.name, _first_line(path)) for path in paths]
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(["```", *(f"{name:<{width}}{line}".rstrip() for name, line in rows), "```"])


def result_table() -> str:
    """Return strict micro F1 of the shipped labelers beside spaCy's small pipeline, from their run.json."""
    rows = [
        "| strict micro F1 | shipped | `fast` | `turbo` | spaCy `en_core_web_sm` |",
        "|---|---|---|---|---|",
    ]
    for name, title in TEST_SETS.items():
        sides = ("shipped", "shipped_fast", "shipped_turbo", "spacy_small")
        ours, *others = (_test_f1(RESULTS / side / name) for side in sides)
        cells = " | ".join(f"{other:.1f}" for other in others)
        rows.append(f"| {title} | **{ours:.1f}** | {cells} |")
    return "\n".join(rows)


def plan_table() -> str:
    """Return what the same short training gives under each plan, from its run.json files."""
    rows = ["| data, test F1 | `causal` | `0011` |", "|---|---|---|"]
    for folder, title in SHORT_RUNS.items():
        cells = []
        for plan in ("causal", "0011"):
            scores = _scores(RESULTS / folder / plan)
            test = next(value for key, value in scores.items() if key.startswith("test"))
            low, high = test["interval"]
            cells.append(f"{100 * test['micro']['f1']:.1f} ({100 * low:.1f} to {100 * high:.1f})")
        rows.append(f"| {title} | {cells[0]} | {cells[1]} |")
    return "\n".join(rows)


def truth_table() -> str:
    """Return mean test score and sd over seeds of every plan of four layer groups, the best mean rank first."""
    columns = {title: _plan_scores(RESULTS / folder) for folder, title in TRUTHS.items()}
    columns = {title: scores for title, scores in columns.items() if len(scores) == 16}
    ranks = {
        title: sorted(scores, key=lambda plan, s=scores: -fmean(s[plan]))  # type: ignore[misc]
        for title, scores in columns.items()
    }
    plans = sorted(
        next(iter(columns.values())), key=lambda plan: sum(order.index(plan) for order in ranks.values())
    )
    lines = [
        "| plan | "
        + " | ".join(f"{title}, {_seeds(scores)}" for title, scores in columns.items())
        + " | mean rank |",
        "|---|" + "--:|" * (len(columns) + 1),
    ]
    for plan in plans:
        cells = [
            mean_and_sd(scores[plan], best=order[0] == plan)
            for scores, order in zip(columns.values(), ranks.values(), strict=True)
        ]
        rank = fmean(order.index(plan) + 1 for order in ranks.values())
        lines.append(f"| `{plan}` | " + " | ".join(cells) + f" | {rank:.1f} |")
    return "\n".join(lines)


def _plan_scores(folder: Path) -> dict[str, list[float]]:
    """Return the test scores in points of each plan, one a seed."""
    found: dict[str, list[float]] = {}
    for file in sorted(folder.glob("*/seed-*/run.json")):
        plan = {"middle": "0110"}.get(file.parts[-3], file.parts[-3])
        if len(plan) != 4 or set(plan) - set("01"):
            continue
        found.setdefault(plan, []).append(_test_score(file))
    return found


def _test_score(file: Path) -> float:
    scores = json.loads(file.read_text(encoding="utf-8"))["scores"]
    return 100 * float(next(value for key, value in scores.items() if key.startswith("test"))["headline"])


def repetition_table() -> str:
    """Return the F1 of sequence repetition on names beside plans, with the number of trained tokens."""
    lines = ["| names, 3 seeds | tokens trained on | test F1 |", "|---|--:|--:|"]
    for folder, (title, tokens) in REPETITION.items():
        scores = [_test_score(file) for file in sorted((RESULTS / folder).glob("seed-*/run.json"))]
        lines.append(f"| {title} | {tokens} | {mean_and_sd(scores, best=False)} |")
    return "\n".join(lines)


def open_ner_table(runs: dict[str, str], first: str) -> str:
    """Return strict micro F1 of trainings on all sentences of the recipe of the shipped labelers' teacher.

    Args:
        runs: title of each folder in the results of open_ner; first: title of the first column.
    """
    sets = ("dev", "test:uner_en_ewt", "test:uner_en_pud", "test:wikigold")
    lines = [f"| {first} | EWT dev | EWT test | PUD test | WikiGold test |", "|---|--:|--:|--:|--:|"]
    for folder, title in runs.items():
        scores = _scores(RESULTS / "open_ner" / folder)
        cells = (f"{100 * scores[name]['micro']['f1']:.1f}" for name in sets)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def letter_case_table() -> str:
    """Return strict micro F1 by letter case of the shipped labelers and of those that were shipped before."""
    cases = ("as it is", "capitals", "lower case")
    lines = [f"| labeler, test data | {' | '.join(cases)} |", "|---|--:|--:|--:|"]
    for labeler in ("shipped", "fast", "turbo"):
        usual, changed = (
            json.loads((RESULTS / "letter_case" / f"{labeler}{suffix}.json").read_text(encoding="utf-8"))
            for suffix in ("_usual", "")
        )
        for data, title in TEST_SETS.items():
            cells = (f"{100 * usual[data][case]:.1f}, {100 * changed[data][case]:.1f}" for case in cases)
            lines.append(f"| `{labeler}`, {title.split(' (')[0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _seeds(scores: dict[str, list[float]]) -> str:
    count = min(map(len, scores.values()))
    return "one seed" if count == 1 else f"{count} seeds"


def written(file: str) -> str:
    """Return a table that an experiment wrote.

    Args:
        file: in the folder of results.
    """
    return (RESULTS / file).read_text(encoding="utf-8").strip()


BLOCKS: dict[str, Callable[[], str]] = {
    "results": result_table,
    "plans": plan_table,
    "file map": file_map,
    "training speed": lambda: speed_table("training"),
    "prediction speed": lambda: speed_table("prediction"),
    "equal f1": equal_f1_table,
    "growth": growth_table,
    "growth real": real_growth_table,
    "taggers": tagger_table,
    "truth": truth_table,
    "regret": lambda: written("plan_search/regret.md"),
    "tuned regret": lambda: written("plan_search_tuned/regret.md"),
    "repetition": repetition_table,
    "scale": lambda: written("scale/ner.md"),
    "scale 100": lambda: written("scale_100/ner.md"),
    "whole data": lambda: open_ner_table(WHOLE_DATA, "model and plan"),
    "distilled": lambda: open_ner_table(DISTILLED, "labeler"),
    "letter case": letter_case_table,
    "layer effects": lambda: written("random_plans/effects.md"),
}


def rewritten(text: str) -> str:
    """Return a page with everything between its markers updated."""
    for name, make in BLOCKS.items():
        start, end = f"<!-- {name}: docs/write_tables.py -->", f"<!-- end of {name} -->"
        if start in text:
            block = f"{start}\n{make()}\n{end}"
            pattern = f"{re.escape(start)}.*{re.escape(end)}"
            text = re.sub(pattern, lambda _, b=block: b, text, flags=re.DOTALL)
    return text


def _test_f1(folder: Path) -> float:
    return float(100 * _scores(folder)["test"]["micro"]["f1"])


def _scores(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))["scores"]


def _place(name: str) -> tuple[int, str]:
    return next((i for i, start in enumerate(ORDER) if name.startswith(start)), len(ORDER)), name


def _first_line(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    return text.split("\n")[0].lstrip("# ")


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(f"{page.relative_to(ROOT)} written\n")
