"""Streams next to whole texts: python experiments/streaming.py runs/streaming --out experiments/results/streaming

The study (recipes/studies/streaming.toml) trains plans with 0 to 16 tokens of look-ahead, and two without limit. For
each labeler the script measures test F1, offline and with the greedy tags of a stream (lag 0), and the number of words
that the default decoding waits for. It also measures the processor time per word of a stream, and of labeling the text
so far again at each word.

Without a folder it measures times only, of the shipped labeler under the plans of the study: times do not depend on
training.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from lookboth import Labeler
from lookboth.data import decode_tags, read_split
from lookboth.evaluation import score_spans
from lookboth.files import write_whole
from lookboth.inference import decode_online, example_scores
from lookboth.masking import apply_plan
from lookboth.run_folder import RunFolder
from lookboth.types import Example

LENGTHS = (20, 100, 300)  # words of a text before the word that is timed; all fit in one window
TIMED = 20  # words
REPEATS = 3
PLANS = (  # those of the study
    "causal",
    "0,0,0,0,0,0,0,0,1,0,0,0,0,0,0",
    "0,0,0,0,1,0,0,0",
    "0,0,1,0",
    "0,0,2,0",
    "0011",
)


def main() -> None:
    """Measure every labeler of the study and write streaming.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="?", help="folder of the study, with labelers")
    parser.add_argument("--data", default="wikigold:test", help="labeled test data")
    parser.add_argument("--out", type=Path, required=True, help="folder for streaming.json")
    options = parser.parse_args()
    # Processor time then does not depend on other programs, except for shared caches and memory.
    torch.set_num_threads(1)
    name, _, split = options.data.partition(":")
    examples = read_split(name, split).examples
    if options.runs is None:
        shipped = Labeler.from_pretrained(device="cpu", precision="fp32", merge=True)
        rows = [times(replanned(shipped, plan), words_of(examples)) for plan in PLANS]
    else:
        folders = [run.path / "labeler" for run in RunFolder.below(options.runs)]
        rows = [measure(folder, examples) for folder in folders if folder.is_dir()]
    rows.sort(key=lambda row: (row["look_ahead"] is None, row["look_ahead"], row["plan"]))
    file = "times.json" if options.runs is None else "streaming.json"
    write_whole(options.out / file, [json.dumps(rows, indent=1) + "\n"])
    for row in rows:
        print(json.dumps(row))


def replanned(labeler: Labeler, plan: str) -> Labeler:
    """Return a view under a plan that stays applied, so that calls do not spend time on applying it."""
    view = labeler.with_plan(plan)
    apply_plan(view.model.backbone, view.config.plan)
    return view


def words_of(examples: Sequence[Example]) -> list[str]:
    """Return the words of the text that is timed."""
    return [word for example in examples for word in example.words][: LENGTHS[-1] + TIMED]


def measure(folder: Path, examples: Sequence[Example]) -> dict[str, Any]:
    """Return the scores, waits and times of one labeler; those of a stream are None if its plan has no limit."""
    labeler = Labeler.from_pretrained(folder, device="cpu", precision="fp32", merge=True)
    scores, words = example_scores(labeler, examples), words_of(examples)
    row = times(labeler, words) | {"f1": f1_of(labeler, examples, scores, None)}
    if labeler.config.look_ahead is None:
        return row
    return row | {
        "f1_greedy": f1_of(labeler, examples, scores, 0),
        "words_waited": words_waited(labeler, words),
    }


def times(labeler: Labeler, words: Sequence[str]) -> dict[str, Any]:
    """Return milliseconds of processor time per word, after each of `LENGTHS` words."""
    look_ahead = labeler.config.look_ahead
    streams = look_ahead is not None
    return {
        "plan": str(labeler.config.plan),
        "look_ahead": look_ahead,
        "after_words": LENGTHS,
        "ms_stream": [milliseconds_streamed(labeler, words, n) for n in LENGTHS] if streams else None,
        "ms_again": [milliseconds_again(labeler, words[:n]) for n in LENGTHS],
    }


def f1_of(labeler: Labeler, examples: Sequence[Example], scores: Sequence[Any], lag: int | None) -> float:
    """Return the strict F1 of the tags that a stream with this lag returns; None is the offline decoding."""
    config = labeler.config
    ids = [decode_online(rows, config.tags, config.scheme, labeler.likelihood(), lag=lag) for rows in scores]
    found = [decode_tags([config.tags[tag] for tag in each], config.scheme) for each in ids]
    return round(score_spans([example.spans for example in examples], found).micro.f1, 4)


def words_waited(labeler: Labeler, words: Sequence[str]) -> float:
    """Return the mean number of words that a scored word waits for its tag under the default decoding."""
    greedy, stream = labeler.open_stream(lag=0), labeler.open_stream()
    scored = tagged = waiting = 0
    for word in words:
        tagged += len(stream.push(word).tags)
        scored += len(greedy.push(word).tags)
        # Little's law: the mean wait is the mean number of waiting words, as one word arrives per step.
        waiting += scored - tagged
    return round(waiting / len(words), 2)


def milliseconds_streamed(labeler: Labeler, words: Sequence[str], before: int) -> float:
    """Return the median milliseconds of a word in a stream that already has `before` words."""
    stream = labeler.open_stream()
    stream.push(words[:before])
    return round(
        median(seconds(partial(stream.push, word)) for word in words[before : before + TIMED]) * 1000, 1
    )


def milliseconds_again(labeler: Labeler, words: Sequence[str]) -> float:
    """Return the median milliseconds of labeling all words."""
    return round(1000 * median(seconds(partial(labeler.predict_words, [words])) for _ in range(REPEATS)), 1)


def seconds(call: Callable[[], object]) -> float:
    """Return the processor time of a call in seconds."""
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    main()
