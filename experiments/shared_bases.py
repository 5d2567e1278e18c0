"""Several labelers on one base, compared with separate ones: memory, words per second, and equality of their spans.

python experiments/shared_bases.py OUT.json [--labeler FOLDER] [--counts 1,4,16] [--texts 96]

The labelers are copies of one LoRA labeler with noise in their adapters. Each form is measured in a process of its own.
`one text each` is traffic in which every labeler gets one sentence at a time, `all texts` is traffic in which each
labeler has its texts at once. PEFT's mixed adapters are compared on one batch of the same rows. Time is that of the
processor, in one thread (set OMP_NUM_THREADS=1), so that other programs on the machine hardly change it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file, save_file

from lookboth import Labeler, LabelerPool, read_split
from lookboth.labelers import ADAPTER_FOLDER, find_folder, read_config
from lookboth.masking import under_plan
from lookboth.models import WEIGHTS_FILE, load_backbone, row_pairs

NOISE = 0.1  # standard deviation, relative to that of each weight
FORMS = ("separate", "shared")
REPEATS = 3


def main() -> None:
    """Measure all forms and numbers of labelers and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--labeler", default="shipped")
    parser.add_argument("--counts", default="1,4,16", help="numbers of labelers, separated by commas")
    parser.add_argument("--texts", type=int, default=96, help="number of sentences, dealt to the labelers")
    parser.add_argument("--precision", default="auto")
    # Set by this script, in the processes that it starts.
    parser.add_argument("--form", choices=[*FORMS, "peft"])
    parser.add_argument("--folders", nargs="*", type=Path)
    options = parser.parse_args()
    if options.form:
        measure = _measure_pass if options.form == "peft" else _measure_form
        options.out.write_text(json.dumps(measure(options)), encoding="utf-8")
        return
    counts = [int(count) for count in options.counts.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        folders = _make_labelers(find_folder(options.labeler), Path(folder), max(counts))
        report = _report(options, folders, counts)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


def _report(options: argparse.Namespace, folders: list[Path], counts: list[int]) -> dict[str, Any]:
    runs, differing = [], {}
    for count in counts:
        # A labeler that is alone in a pool is as if it were separate.
        forms = FORMS if count > 1 else FORMS[:1]
        found = {form: _in_process(form, folders[:count], options) for form in forms}
        spans = [found[form].pop("spans") for form in forms]
        differing[str(count)] = sum(a != b for a, b in zip(spans[0], spans[-1], strict=True))
        runs += [{"labelers": count, "form": form, **found[form]} for form in forms]
    return {
        "labeler": options.labeler,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "texts": options.texts,
        "runs": runs,
        "texts_with_other_spans": differing,
        "one_pass": _in_process("peft", folders, options),
    }


def _in_process(form: str, folders: list[Path], options: argparse.Namespace) -> dict[str, Any]:
    out = folders[0].parent / "found.json"
    settings = ["--texts", str(options.texts), "--precision", options.precision, "--form", form]
    command = [sys.executable, __file__, str(out), *settings, "--folders", *map(str, folders)]
    subprocess.run(command, check=True)
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def _make_labelers(source: Path, root: Path, count: int) -> list[Path]:
    """Return the folders of copies of a labeler with noise in their adapters; the first one has none."""
    torch.manual_seed(0)
    folders = [root / f"labeler-{number}" for number in range(count)]
    for number, folder in enumerate(folders):
        shutil.copytree(source, folder)
        file = folder / ADAPTER_FOLDER / WEIGHTS_FILE
        weights = load_file(file)
        noisy = {
            name: value + (NOISE * number / count) * value.float().std().to(value) * torch.randn_like(value)
            for name, value in weights.items()
        }
        save_file(noisy, file, metadata={"format": "pt"})
    return folders


def _measure_form(options: argparse.Namespace) -> dict[str, Any]:
    texts = _texts(options.texts)
    names = [folder.name for folder in options.folders]
    pairs = [(names[index % len(names)], text) for index, text in enumerate(texts)]
    before = _memory()
    label = _separate(options) if options.form == "separate" else _shared(options)
    label(pairs[: len(names)])
    megabytes = _memory() - before
    rounds = [pairs[start : start + len(names)] for start in range(0, len(pairs), len(names))]
    words = sum(len(text.split()) for text in texts)
    found: list[Any] = []
    seconds = {
        "one text each": _best(lambda: [label(some) for some in rounds], repeats=1),
        "all texts": _best(lambda: found.extend(label(pairs)), repeats=1),
    }
    return {
        "megabytes": round(megabytes),
        "words_per_second": {name: round(words / each, 1) for name, each in seconds.items()},
        "spans": [[list(span[:3]) for span in prediction.spans] for prediction in found],
    }


def _separate(options: argparse.Namespace) -> Callable[[list[tuple[str, str]]], list[Any]]:
    labelers = {
        folder.name: Labeler.from_pretrained(folder, device="cpu", precision=options.precision)
        for folder in options.folders
    }

    def label(pairs: list[tuple[str, str]]) -> list[Any]:
        found: dict[int, Any] = {}
        for name, labeler in labelers.items():
            own = [index for index, pair in enumerate(pairs) if pair[0] == name]
            found.update(zip(own, labeler.predict([pairs[index][1] for index in own]), strict=True))
        return [found[index] for index in range(len(pairs))]

    return label


def _shared(options: argparse.Namespace) -> Callable[[list[tuple[str, str]]], list[Any]]:
    pool = LabelerPool(device="cpu", precision=options.precision)
    pool.add({folder.name: folder for folder in options.folders})
    return pool.predict


def _measure_pass(options: argparse.Namespace) -> dict[str, Any]:
    """Return the milliseconds of one pass over one row of 32 tokens per labeler: without adapters, ours, PEFT's."""
    from peft import PeftModel

    ids = torch.randint(10, 200, (len(options.folders), 32), generator=torch.Generator().manual_seed(0))
    pool = LabelerPool(device="cpu", precision=options.precision)
    pool.add({folder.name: folder for folder in options.folders})
    models = [labeler.model for labeler in pool.labelers.values()]
    stock, plan = models[0].backbone.stock, next(iter(pool.labelers.values())).config.plan
    rows = row_pairs(stock)
    assert rows is not None
    active = [(slice(number, number + 1), model.backbone.pairs) for number, model in enumerate(models)]

    def ours() -> Any:
        with rows.using(active):
            return stock(input_ids=ids, use_cache=False).last_hidden_state

    config = read_config(options.folders[0])
    base = load_backbone(config.base, device="cpu", precision=options.precision, num_layers=config.exit_layer)
    names = [folder.name for folder in options.folders]
    mixed = PeftModel.from_pretrained(base, options.folders[0] / ADAPTER_FOLDER, adapter_name=names[0])
    for folder in options.folders[1:]:
        mixed.load_adapter(folder / ADAPTER_FOLDER, adapter_name=folder.name)
    mixed.eval()

    def peft() -> Any:
        return mixed(input_ids=ids, use_cache=False, adapter_names=names).last_hidden_state

    with torch.inference_mode(), under_plan(stock, plan), under_plan(base, plan):
        found, expected = ours().float(), peft().float()
        difference = float((found - expected).norm() / expected.norm())
        milliseconds = {
            "without adapters": _best(lambda: stock(input_ids=ids, use_cache=False)),
            "ours": _best(ours),
            "PEFT": _best(peft),
        }
    return {
        "rows": len(names),
        "milliseconds": {name: round(1000 * seconds, 1) for name, seconds in milliseconds.items()},
        "relative_difference": round(difference, 4),
    }


def _best(run: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the processor seconds of the fastest of several runs."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _memory() -> float:
    """Return the memory of this process in MB."""
    return psutil.Process().memory_info().rss / 1e6


def _texts(count: int) -> list[str]:
    return [" ".join(example.words) for example in islice(read_split("wikigold", "test").examples, count)]


if __name__ == "__main__":
    main()
