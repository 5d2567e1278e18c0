"""Scaling of `lookboth bulk` on this machine: words per second with 1 and 2 workers, and of the pipeline without Ray.

python experiments/bench_bulk.py OUT.json [--model FOLDER] [--words 200000] [--workers 1,2]

The input is WikiGold as plain text, repeated; the output is JSON lines and Parquet. Each worker has one CPU (or one GPU
with --gpus-per-worker 1). Speeds of different machines, or of a busy one, are not comparable. The ratios within one
run are.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil

from lookboth import Labeler, read_split
from lookboth.bulk.bulk_options import BulkOptions, Workers
from lookboth.bulk.bulk_progress import Progress
from lookboth.bulk.bulk_run import run_bulk
from lookboth.bulk.part_results import OutFolder, Receipt
from lookboth.bulk.storage import open_place


def main() -> None:
    """Run all sizes and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", help="saved labeler; default: the shipped one")
    parser.add_argument("--words", type=int, default=200_000, help="size of the input")
    parser.add_argument("--workers", default="1,2", help="numbers of workers, separated by commas")
    parser.add_argument("--gpus-per-worker", type=float, default=0.0)
    parser.add_argument("--part-bytes", type=int, default=32 * 1024)
    options = parser.parse_args()
    texts = list(_texts(options.words))
    device = "cuda" if options.gpus_per_worker else "cpu"
    report: dict[str, Any] = {
        "model": options.model or "shipped",
        "device": device,
        "cpus": os.cpu_count(),
        "texts": len(texts),
        "pipeline_words_per_second": round(_pipeline_speed(options.model, texts, device), 1),
    }
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in.txt")
        source.write_text("\n".join(texts), encoding="utf-8")
        runs = [
            _run(source, Path(folder, f"out-{count}"), int(count), options)
            for count in options.workers.split(",")
        ]
        report["parquet_bytes_per_word"] = _parquet_size(Path(folder))
    for run in runs:
        run["efficiency"] = round(
            run["words_per_second"] / runs[0]["words_per_second"] * runs[0]["workers"] / run["workers"], 3
        )
    report |= {
        "runs": runs,
        "ray_over_pipeline": round(runs[0]["words_per_second"] / report["pipeline_words_per_second"], 3),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


def _texts(num_words: int) -> Iterator[str]:
    for example in cycle(read_split("wikigold", "test").examples):
        if num_words <= 0:
            return
        num_words -= len(example.words)
        yield " ".join(example.words)


def _pipeline_speed(model: str | None, texts: list[str], device: str) -> float:
    """Return the words per second of the labeler in this process, with the resources of one worker."""
    import torch

    torch.set_num_threads(1)
    labeler = Labeler.from_pretrained(model, device=device, merge=True)
    batch_tokens = 8192 if device == "cuda" else 512
    labeler.predict(texts[:8], batch_tokens=batch_tokens)
    some = texts[: max(8, len(texts) // 4)]
    start = time.monotonic()
    words = sum(len(prediction.words) for prediction in labeler.stream(some, batch_tokens=batch_tokens))
    return words / (time.monotonic() - start)


def _run(source: Path, out: Path, count: int, options: argparse.Namespace) -> dict[str, Any]:
    peak = [0.0]

    def watch(progress: Progress) -> None:
        peak[0] = max([peak[0], *_worker_megabytes()])
        print(f"{count} workers: {progress.describe()}", file=sys.stderr)

    workers = Workers(count=count, gpus=options.gpus_per_worker, cpus=1.0)
    start = time.monotonic()
    result = run_bulk(
        source, out, BulkOptions(part_bytes=options.part_bytes), workers, model=options.model, report=watch
    )
    took, total = time.monotonic() - start, result.total
    return {
        "workers": count,
        "words_per_second": round(total.words_a_second, 1),
        "busy_words_per_second_of_a_worker": round(_busy_speed(out), 1),
        "seconds_to_start_and_stop": round(took - total.seconds, 1),
        "parts": total.parts,
        "words": total.words,
        "spans_per_100_words": round(100 * total.spans / total.words, 2),
        "jsonl_bytes_per_word": round(sum(r.size for r in _receipts(out)) / total.words, 2),
        "peak_megabytes_of_a_worker": round(peak[0]),
    }


def _parquet_size(folder: Path) -> float:
    """Return the bytes per word of the result in Parquet, converted from the JSON lines."""
    from lookboth.bulk.encoding import encode_parquet
    from lookboth.bulk.rows import Row
    from lookboth.types import PredictedSpan, Prediction

    words = size = 0
    for path in sorted(folder.glob("out-*/part-*.jsonl"))[:50]:
        receipt = json.loads((path.parent / "_bulk" / "parts" / path.with_suffix(".json").name).read_text())
        labeled = []
        for line in path.open("rb"):
            record = json.loads(line)
            spans = [
                PredictedSpan(0, 0, s["label"], "", s["start"], s["end"], s["score"]) for s in record["spans"]
            ]
            labeled.append((Row(record["row"]), {"": Prediction("", (), (), (), tuple(spans))}))
        size += len(encode_parquet(record["source"], labeled, {}))
        words += receipt["words"]
    return round(size / words, 2)


def _busy_speed(out: Path) -> float:
    receipts = _receipts(out)
    return sum(receipt.words for receipt in receipts) / sum(receipt.seconds for receipt in receipts)


def _receipts(out: Path) -> list[Receipt]:
    folder = OutFolder(open_place(str(out)))
    manifest = folder.read_manifest()
    assert manifest is not None
    return list(folder.receipts(manifest).values())


def _worker_megabytes() -> Iterator[float]:
    for process in psutil.Process().children(recursive=True):
        try:
            if "MapWorker" in " ".join(process.cmdline()):
                yield process.memory_info().rss / 1e6
        # The process ended while it was being examined.
        except psutil.Error:
            continue


if __name__ == "__main__":
    main()
