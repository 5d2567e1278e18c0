"""Streams next to whole texts: python experiments/streaming.py runs/streaming --out experiments/results/streaming

The study (recipes/studies/streaming.toml) trains plans with 0 to 16 tokens of look-ahead, and two without limit. For
each labeler the script measures test F1, offline and with the greedy tags of a stream (lag 0), and the number of words
that the default decoding waits for. It also measures the processor time per word of a stream, and of labeling the text
so far again at each word.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lookboth import Labeler
from lookboth.data import decode_tags, read_split
from lookboth.evaluation import score_spans
from lookboth.files import write_whole
from lookboth.inference import decode_online, example_scores
from lookboth.run_folder import RunFolder
from lookboth.types import Example

WORDS = 100  # words of the text that is timed
EVERY = 10  # the text so far is labeled at every tenth word only


def main() -> None:
    """Measure every labeler of the study and write streaming.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder of the study, with labelers")
    parser.add_argument("--data", default="wikigold:test", help="labeled test data")
    parser.add_argument("--out", type=Path, required=True, help="folder for streaming.json")
    options = parser.parse_args()
    # Processor time then does not depend on other programs, except for shared caches and memory.
    torch.set_num_threads(1)
    name, _, split = options.data.partition(":")
    examples = read_split(name, split).examples
    rows = [
        measure(run, examples) for run in RunFolder.below(options.runs) if (run.path / "labeler").is_dir()
    ]
    rows.sort(key=lambda row: (row["look_ahead"] is None, row["look_ahead"], row["plan"]))
    write_whole(options.out / "streaming.json", [json.dumps(rows, indent=1) + "\n"])
    for row in rows:
        print(json.dumps(row))


def measure(run: RunFolder, examples: Sequence[Example]) -> dict[str, Any]:
    """Return the measurements of one labeler; those of streams are None if its plan has no limit."""
    labeler = Labeler.from_pretrained(run.path / "labeler", device="cpu", precision="fp32", merge=True)
    words = [word for example in examples for word in example.words][:WORDS]
    look_ahead = labeler.config.look_ahead
    scores = example_scores(labeler, examples)
    row = {
        "plan": str(labeler.config.plan),
        "look_ahead": look_ahead,
        "f1": f1_of(labeler, examples, scores, None),
        "f1_greedy": None,
        "words_waited": None,
        "ms_stream": None,
        "ms_again": milliseconds_again(labeler, words),
    }
    if look_ahead is None:
        return row
    waited, spent = stream_words(labeler, words)
    greedy = f1_of(labeler, examples, scores, 0)
    return row | {"f1_greedy": greedy, "words_waited": waited, "ms_stream": spent}


def f1_of(labeler: Labeler, examples: Sequence[Example], scores: Sequence[Any], lag: int | None) -> float:
    """Return the strict F1 of the tags that a stream with this lag returns; None is the offline decoding."""
    config = labeler.config
    ids = [decode_online(rows, config.tags, config.scheme, labeler.likelihood(), lag=lag) for rows in scores]
    found = [decode_tags([config.tags[tag] for tag in each], config.scheme) for each in ids]
    return round(score_spans([example.spans for example in examples], found).micro.f1, 4)


def stream_words(labeler: Labeler, words: Sequence[str]) -> tuple[float, float]:
    """Return the mean number of words a scored word waits for its tag, and milliseconds per word."""
    greedy, stream = labeler.open_stream(lag=0), labeler.open_stream()
    scored = tagged = waiting = 0
    spent = 0.0
    for word in words:
        start = time.process_time()
        tagged += len(stream.push(word).tags)
        spent += time.process_time() - start
        scored += len(greedy.push(word).tags)
        # Little's law: the mean wait is the mean number of waiting words, as one word arrives per step.
        waiting += scored - tagged
    return round(waiting / len(words), 2), round(1000 * spent / len(words), 1)


def milliseconds_again(labeler: Labeler, words: Sequence[str]) -> float:
    """Return the milliseconds per word if the whole text so far is labeled at each word."""
    labeler.predict_words([words])
    start, ends = time.process_time(), range(EVERY, len(words) + 1, EVERY)
    for end in ends:
        labeler.predict_words([words[:end]])
    return round(1000 * (time.process_time() - start) / len(ends), 1)


if __name__ == "__main__":
    main()
