"""What the processes of `test_distributed.py` run: python -m torch.distributed.run together.py FOLDER MODEL."""

import os
import signal
import sys
from itertools import count
from pathlib import Path

import accelerate
import numpy as np
from accelerate.utils import DistributedType
from test_trainer import make_config, right_word_decides, tiny_labeler, train

from lookboth import cli
from lookboth.errors import DataError
from lookboth.inference.pipeline import word_log_probs
from lookboth.training.process_group import ProcessGroup, join_process_group, on_rank_zero

STOPPED_AT = 3  # dev scores after which a run is stopped
PLAIN = {
    "accumulated": {"epochs": 2, "layout": "packed", "accumulation": 3, "batch_tokens": 48},
    "fewer sentences than processes": {"epochs": 0.5, "batch_tokens": 16},
    "begun by one": {"epochs": 4, "accumulation": 2, "batch_tokens": 64, "schedule": "linear"},
    "begun by two": {"epochs": 4, "accumulation": 3, "batch_tokens": 64, "schedule": "linear"},
}
SHARDED = {
    "sharded": {"epochs": 2, "accumulation": 2, "batch_tokens": 64, "schedule": "linear"},
    "sharded by two": {"epochs": 4, "accumulation": 2, "batch_tokens": 64, "schedule": "linear"},
}
RUNS = PLAIN | SHARDED | {"killed": {"epochs": 2}}
OTHER = {  # commands and settings
    "adapted": ("adapt", ("adaptation.objective=mntp", "adaptation.batch_tokens=64")),
    "sift": (
        "train",
        (
            "method=sift",
            "plan=causal",
            "training.epochs=1",
            "data.max_train_sentences=12",
            "data.max_dev_sentences=3",
            "data.test=[]",
        ),
    ),
}
FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
}
PLANS = ("0011", "full", "causal")


class Stopped(Exception):
    """Ends a run as a kill would, at a dev score."""


def run(name, folder, base, *, stop_at=None, stop=None):
    """Train by one of RUNS, or go on with it, and return the labeler; dev scores count up, from 11 where it goes on."""
    numbers = count(11 if (Path(folder) / name / "history.json").is_file() else 1)

    def score():
        number = next(numbers)
        if number == stop_at:
            (stop or raise_stopped)()
        return number / 100

    labeler = make_labeler(name, base)
    try:
        train(labeler, Path(folder) / name, make_config(**RUNS[name]), right_word_decides(40), score=score)
    except Stopped:
        return None
    return labeler


def raise_stopped():
    """End a run as a kill would."""
    raise Stopped


def kill_second():
    """Kill the second process; the first will wait for it."""
    if ProcessGroup.current().rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def make_labeler(name, base):
    """An untrained labeler for one of RUNS."""
    head = {"kind": "crf"} if name.startswith(("fewer", "sharded")) else {}
    adapter = "full" if name == "sharded" else "lora"
    return tiny_labeler(base, plan="0011", head=head, adapter=adapter)


def shard_on_cpus():
    """Ask for FSDP2 as `accelerate launch` does, and lift accelerate's condition that there are GPUs."""
    begin = accelerate.state.AcceleratorState.__init__

    def lifted(self, *args, fsdp_plugin=None, **kwargs):
        begin(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.fsdp_plugin = fsdp_plugin
            accelerate.state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.distributed_type = DistributedType.FSDP

    accelerate.state.AcceleratorState.__init__ = lifted
    os.environ |= FSDP


def refuse():
    """Fail in a way that every process has to learn of."""
    raise DataError("only the first process knows")


def probabilities(labeler, plan):
    """The log probability of every tag for every word of some sentences, under a plan."""
    sentences = [example.words for example in right_word_decides(10, 5)]
    return np.concatenate(word_log_probs(labeler.with_plan(plan), sentences))


def command(folder, name, *, verb="train", settings=()):
    """Run `lookboth train` or `lookboth adapt` into a folder."""
    sys.argv = ["lookboth", verb, str(folder / "recipe.toml"), "--out", str(folder / name)]
    sys.argv += [word for setting in settings for word in ("--set", setting)]
    cli.app(standalone_mode=False)


def main():
    folder, base = Path(sys.argv[1]), sys.argv[2]
    team = join_process_group()
    cli.training_commands.leave_process_group = lambda: None  # there is more to do together
    for name in PLAIN:
        run(name, folder, base, stop_at=STOPPED_AT if name == "begun by two" else None)
    try:
        on_rank_zero(refuse)
    except DataError as error:
        print(f"process {team.rank} heard: {error}", flush=True)
    command(folder, "by command")
    for name, (verb, settings) in OTHER.items():
        command(folder, name, verb=verb, settings=settings)
    shard_on_cpus()
    labeler = run("sharded", folder, base)
    np.savez(folder / f"sharded {team.rank}.npz", **{plan: probabilities(labeler, plan) for plan in PLANS})
    run("sharded by two", folder, base, stop_at=STOPPED_AT)
    command(folder, "by command sharded")
    del os.environ["ACCELERATE_USE_FSDP"]
    run("killed", folder, base, stop_at=2, stop=kill_second)


if __name__ == "__main__":
    main()
