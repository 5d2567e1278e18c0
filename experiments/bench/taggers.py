"""Speed and memory beside other taggers: python experiments/bench/taggers.py OUT.json [--python GLiNER=PATH ...]

Every tagger runs in its own process, with the Python of its own environment where one is named (--python). The
processes take turns: all sentences at once, then one sentence at a time. GLiNER and flair are the real packages with
random weights of the usual shapes: speed does not depend on them, except that trained weights find spans to report.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from alternate import Side, alternate, write_result
from prediction import SHAPES

from lookboth.data.sources import read_source
from lookboth.models.builtin_models import resolve_model

SHIPPED = ("shipped", "fast", "turbo")  # they have the same labels
NOTES = {
    "pipeline": "transformers' `pipeline` with SmolLM2-135M, fp32",
    **{
        f"lookboth {name}": "labeler that comes with lookboth, bf16 where the processor has it"
        for name in SHIPPED
    },
    "spaCy": "entity recognizer of `en_core_web_sm` alone",
    "GLiNER": "shape of gliner_small (DeBERTa-v3-small), 3 labels, fp32; random weights",
    "flair": "`TransformerWordEmbeddings` of BERT-base's shape, fp32; random weights",
}
BASE = "pipeline"
# Sides that run together; the base is in each group, as not all fit in the memory of a laptop at once.
GROUPS = {
    "lookboth": [*(f"lookboth {name}" for name in SHIPPED), "spaCy"],
    "others": ["GLiNER", "flair"],
}
# The vocabulary of DeBERTa-v3; the tokenizer is that of BERT, as DeBERTa's is not at hand.
VOCABULARY = {"deberta-v2": 128_100, "bert": 30_522}


class TaggerProcess:
    """A process that loads one tagger of tagger_sides.py and times it.

    Args:
        name: name of the side.
        python: the Python that has its library.
        folder: folder of the random models.
        sentences: words of each sentence.
        clock: "clock", or "processor" for the time of the processor, which does not count other programs.
    """

    def __init__(self, name: str, python: str, folder: Path, sentences: list[list[str]], clock: str) -> None:
        script = Path(__file__).with_name("tagger_sides.py")
        self.name, self.megabytes, self._clock = name, 0.0, clock
        self._process = subprocess.Popen(
            [python, str(script), name, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ask(json.dumps(sentences))

    def ask(self, line: str) -> float:
        """Send a line, "batched" or "one by one", and return the seconds of its answer; note the peak memory in MB."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        self.megabytes = answer["megabytes"]
        return float(answer[self._clock])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    """Time every side in turns, print the rows and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--python", action="append", default=[], metavar="SIDE=PATH")
    parser.add_argument("--sentences", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--group", choices=list(GROUPS), help="measure one group; OUT keeps the rows of the other"
    )
    parser.add_argument("--time", choices=("clock", "processor"), default="clock", help="which time counts")
    options = parser.parse_args()
    pythons = dict(given.split("=", 1) for given in options.python)
    sentences = [list(e.words) for e in read_source("wnut17", "dev").examples][: options.sentences]
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder))
        start = partial(TaggerProcess, folder=Path(folder), sentences=sentences, clock=options.time)
        tables = json.loads(options.out.read_text())["tables"] if options.group else {}
        for group in [options.group] if options.group else GROUPS:
            taggers = [start(name, pythons.get(name, sys.executable)) for name in [BASE, *GROUPS[group]]]
            tables[group] = compare(taggers, sum(map(len, sentences)), options.rounds)
    words, threads = sum(map(len, sentences)), os.environ.get("OMP_NUM_THREADS")
    work = (
        f"{len(sentences)} WNUT-17 sentences of {words} words, at once and one by one, time of the {options.time}, "
        f"{threads} threads, load average {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"
    )
    write_result(options.out, work=work, tables=tables)
    print(json.dumps(tables, indent=1))


def compare(taggers: list[TaggerProcess], words: int, rounds: int) -> list[dict[str, Any]]:
    """Return one row per tagger: words per second in both modes and peak memory; the taggers take turns.

    Args:
        taggers: the processes; they are ended.
        words: number of words that each labels in a round.
        rounds: number of rounds of each tagger and mode.
    """
    speeds = {}
    for mode in ("batched", "one by one"):
        sides = [Side(one.name, lambda one=one, mode=mode: one.ask(mode), words) for one in taggers]  # type: ignore[misc]
        kept = ("words_per_second", "ratio", "rounds")
        speeds[mode] = {
            row["side"]: {key: row[key] for key in kept} for row in alternate(sides, rounds=rounds)
        }
    for one in taggers:
        one.close()
    return [
        {
            "side": one.name,
            "note": NOTES[one.name],
            **{mode: speeds[mode][one.name] for mode in speeds},
            "megabytes": round(one.megabytes),
        }
        for one in taggers
    ]


def write_models(folder: Path) -> None:
    """Write the decoder of the pipeline and the random encoders, with tokenizers."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    (folder / "decoder").symlink_to(resolve_model("smollm2-135m"))
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("minilm-l6"))
    for kind, vocabulary in VOCABULARY.items():
        place = folder / kind.partition("-")[0]
        config = AutoConfig.for_model(kind, vocab_size=vocabulary, **SHAPES[kind])
        AutoModel.from_config(config).save_pretrained(place)
        tokenizer.save_pretrained(place)


if __name__ == "__main__":
    main()
