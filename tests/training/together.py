"""What the processes of `test_distributed.py` run: python -m torch.distributed.run together.py FOLDER MODEL."""

import os
import signal
import sys
from itertools import count
from pathlib import Path

from safetensors.torch import save_file
from test_trainer import make_config, right_word_decides, tiny_labeler, train, trained_weights

from lookboth import cli
from lookboth.errors import DataError
from lookboth.training.team import Team, join, on_first

STOPPED_AT = 3  # dev scores after which a run is stopped
RUNS = {
    "bucketed": {"epochs": 2, "schedule": "linear"},
    "accumulated": {"epochs": 2, "layout": "packed", "accumulation": 3, "batch_tokens": 48},
    "fewer sentences than processes": {"epochs": 0.5, "batch_tokens": 16},
    "begun by one": {"epochs": 4, "accumulation": 2, "batch_tokens": 64, "schedule": "linear"},
    "begun by two": {"epochs": 4, "accumulation": 3, "batch_tokens": 64, "schedule": "linear"},
}


class Stopped(Exception):
    """Ends a run as a kill would, at a dev score."""


def run(name, folder, base, *, stop_at=None):
    """Train by one of RUNS, or go on with it; dev scores count up, from 11 where a run goes on."""
    numbers = count(11 if (Path(folder) / name / "history.json").is_file() else 1)

    def score():
        number = next(numbers)
        if number == stop_at:
            raise Stopped
        return number / 100

    head = {"kind": "crf"} if name.startswith("fewer") else {}
    labeler = tiny_labeler(base, plan="0011", head=head)
    examples = right_word_decides(60)
    try:
        train(labeler, Path(folder) / name, make_config(**RUNS[name]), examples, score=score)
    except Stopped:
        return None
    return trained_weights(labeler)


def refuse():
    """Fail in a way that every process has to learn of."""
    raise DataError("only the first process knows")


def main():
    folder, base = Path(sys.argv[1]), sys.argv[2]
    team = join()
    for name in RUNS:
        weights = run(name, folder, base, stop_at=STOPPED_AT if name == "begun by two" else None)
        if weights and team.is_first:
            save_file(weights, folder / f"{name}.safetensors")
    try:
        on_first(refuse)
    except DataError as error:
        print(f"process {team.rank} heard: {error}", flush=True)
    sys.argv = ["lookboth", "train", str(folder / "recipe.toml"), "--out", str(folder / "by command")]
    cli.training.leave = lambda: None  # there is one more thing to do together
    cli.app(standalone_mode=False)
    die()


def die():
    """Train until the second process is killed; the first must not wait for it for ever."""
    if Team.here().rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    on_first(lambda: None)
    on_first(lambda: None)


if __name__ == "__main__":
    main()
