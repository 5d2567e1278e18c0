"""Speed and memory by text length, batch size and model size: python experiments/bench/growth.py [--out FOLDER]

Writes growth_DEVICE.json and .svg. Models have random weights, except with --real, which measures built-in models with
their own weights and the labeler "fast", in time of the processor, and writes growth_real_DEVICE.json. Above 2 GB all
layers share the weights of one layer, so that a 13B model fits in the memory of a laptop. One layer is far larger than
a CPU's caches, so its weights are still read from memory for each layer. The limit is the time of the matrix products
alone, measured in the same run.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from alternate import matmul_limit, timed, write_result
from torch import nn

from lookboth import Labeler, apply_plan
from lookboth.data.sources import read_source
from lookboth.models.loading import default_device, load_backbone, torch_dtype
from lookboth.quiet import quiet_libraries
from lookboth.reporting.style import COLORS, Plot, panels, plot_style

RESULTS = Path(__file__).parent.parent / "results" / "bench"
# Words of one text.
WORDS = (100, 1_000, 10_000, 100_000)
# Tokens of a sentence, in batches of 512 tokens.
ROWS = (8, 16, 32, 64, 128, 256, 512)
# Tokens of a batch of real sentences.
BATCHES = (32, 128, 512, 2048, 8192)
# Built-in models with their own weights.
REAL = {"135M": "smollm2-135m", "0.5B": "qwen2.5-0.5b", "1.5B": "qwen2.5-1.5b"}
# Sentences of 32 tokens in a batch.
REAL_BATCHES = (1, 4, 16)
# Hidden size, intermediate size, layers, heads, key-value heads.
SHAPES = {
    "135M": (576, 1536, 30, 9, 3),
    "360M": (960, 2560, 32, 15, 5),
    "1.7B": (2048, 8192, 24, 32, 32),
    "7B": (4096, 11008, 32, 32, 32),
    "13B": (5120, 13824, 40, 40, 40),
}


def main() -> None:
    """Measure, print, and write JSON and plots."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--sizes", default=",".join(SHAPES), help="model shapes, separated by commas")
    parser.add_argument(
        "--tokens", type=int, default=256, help="tokens of a batch when model sizes are compared"
    )
    parser.add_argument(
        "--real", default="", metavar="SIZES", help=f"models with their own weights: {','.join(REAL)}"
    )
    parser.add_argument("--words", type=int, default=WORDS[-1], help="with --real: words of the longest text")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    quiet_libraries()
    if options.real:
        out = options.out / f"growth_real_{options.device}.json"
        measure_real(options.real.split(","), options.words, options.device, out)
        return
    labeler = Labeler.from_pretrained(device=options.device, merge=True)
    tables = {
        "text": _long_texts(labeler),
        "sentence": _sentence_lengths(labeler),
        "batch": _batch_sizes(labeler),
        "model": [_model_size(name, options.tokens, options.device) for name in options.sizes.split(",")],
    }
    work = f"the shipped labeler, merged, {options.device}; model sizes: {options.tokens} tokens in sentences of 32"
    write_result(options.out / f"growth_{options.device}.json", work=work, tables=tables)
    picture = draw(tables, f"growth_{options.device}").save(options.out, options.out)
    print(f"written: {options.out / picture.file}")


def measure_real(sizes: Sequence[str], words: int, device: str, out: Path) -> None:
    """Measure built-in models of `REAL` with their own weights and texts of up to `words` words; write the rows."""
    clock = time.process_time
    labeler = Labeler.from_pretrained("fast", device=device, merge=True)
    tables = {"text": _long_texts(labeler, [count for count in WORDS if count <= words], clock)}
    del labeler
    tables["real"] = [row for size in sizes for row in _real_model(size, device)]
    threads, load = torch.get_num_threads(), os.getloadavg()[1]
    work = (
        f"the labeler fast, and built-in models with their own weights in sentences of 32 tokens, {device}; time of "
        f"the processor, {threads} threads, load average {load:.1f} on {os.cpu_count()} cores"
    )
    write_result(out, work=work, tables=tables)


def _real_model(size: str, device: str) -> list[dict[str, Any]]:
    """Return the tokens per second of a built-in model by batch, with its weights and the peak above them in MB."""
    model = load_backbone(REAL[size], device=device)
    apply_plan(model, "full")
    weights, rows = sum(each.numel() * each.element_size() for each in model.parameters()), []
    # Reads the weights from the file, which are counted once.
    _best(model, 1, 32, rounds=1)
    for sentences in REAL_BATCHES:
        with _Peak() as peak:
            seconds = _best(model, sentences, 32, rounds=2, clock=time.process_time)
        speed = 32 * sentences / seconds
        rows.append(
            _said(
                "real",
                size=size,
                tokens=32 * sentences,
                per_second=speed,
                weights=weights / 1e6,
                megabytes=peak.megabytes,
            )
        )
    return rows


def _long_texts(
    labeler: Labeler, counts: Sequence[int] = WORDS, clock: Callable[[], float] = time.perf_counter
) -> list[dict[str, Any]]:
    """Label texts of growing length; memory is the peak of the process minus its memory before."""
    words = [word for example in read_source("uner_en_ewt", "test").examples for word in example.words]
    rows = []
    for count in counts:
        text = " ".join((words * (count // len(words) + 1))[:count])
        labeler.predict(text[:500])
        with _Peak() as peak:
            seconds = timed(lambda text=text: labeler.predict(text), clock)
        rows.append(_said("text", words=count, per_second=count / seconds, megabytes=peak.megabytes))
    return rows


def _sentence_lengths(labeler: Labeler) -> list[dict[str, Any]]:
    return [
        _said(
            "sentence", tokens=length, per_second=512 / _best(labeler.model.backbone, 512 // length, length)
        )
        for length in ROWS
    ]


def _batch_sizes(labeler: Labeler) -> list[dict[str, Any]]:
    sentences = [example.words for example in read_source("uner_en_ewt", "test").examples][:300]
    words, rows = sum(map(len, sentences)), []
    for tokens in BATCHES:
        seconds = min(
            timed(lambda tokens=tokens: labeler.predict_words(sentences, batch_tokens=tokens))
            for _ in range(2)
        )
        rows.append(_said("batch", tokens=tokens, per_second=words / seconds))
    return rows


def _model_size(name: str, tokens: int, device: str) -> dict[str, Any]:
    from transformers import LlamaConfig, LlamaModel

    hidden, intermediate, layers, heads, kv_heads = SHAPES[name]
    weights = layers * hidden * (2 * hidden + 2 * hidden * kv_heads // heads + 3 * intermediate)
    shared = 2 * weights > 2e9
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=1 if shared else layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=1000,
        attn_implementation="sdpa",
    )
    dtype = torch_dtype("auto", device)
    model = LlamaModel(config).to(device=device, dtype=dtype).eval()
    apply_plan(model, "full")
    if shared:
        model.layers = nn.ModuleList([model.layers[0]] * layers)
        model.config.num_hidden_layers = layers
    shapes = [(m.in_features, m.out_features) for m in model.layers[0].modules() if isinstance(m, nn.Linear)]
    speed = tokens / _best(model, tokens // 32, 32, rounds=2)
    limit = tokens / (layers * matmul_limit(shapes, tokens, dtype, device))
    return _said("model", size=name, per_second=speed, limit=limit, share=speed / limit)


def _best(
    model: Any, rows: int, length: int, rounds: int = 3, clock: Callable[[], float] = time.perf_counter
) -> float:
    ids = torch.randint(5, 900, (rows, length), device=next(model.parameters()).device)
    with torch.inference_mode():
        model(input_ids=ids, use_cache=False)
        return min(timed(lambda: model(input_ids=ids, use_cache=False), clock) for _ in range(rounds))


class _Peak:
    """Measures the peak memory of a `with` block above the memory before it, 100 samples per second."""

    megabytes = 0.0

    def __enter__(self) -> "_Peak":
        import threading

        self._process = psutil.Process()
        self._before, self._done = self._process.memory_info().rss, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.megabytes = max(self.megabytes, (self._process.memory_info().rss - self._before) / 1e6)


def _said(what: str, **row: Any) -> dict[str, Any]:
    row = {
        key: round(value, 3 if value < 10 else 1) if isinstance(value, float) else value
        for key, value in row.items()
    }
    print(what, row, flush=True)
    return row


def draw(tables: dict[str, Sequence[dict[str, Any]]], name: str) -> Plot:
    """Return the four panels: speed by text length, sentence length, batch size and model size."""
    titles = ("Words of one text", "Tokens of a sentence", "Tokens of a batch", "Model size")
    with plot_style():
        figure, axes = panels(titles)
        for axis, table, x in zip(axes, tables.values(), ("words", "tokens", "tokens", "size"), strict=True):
            values = [row[x] for row in table]
            axis.plot(values, [row["per_second"] for row in table], "o-", color=COLORS[1], label="lookboth")
            if "limit" in table[0]:
                axis.plot(
                    values,
                    [row["limit"] for row in table],
                    "--",
                    color=COLORS[0],
                    label="matrix products alone",
                )
                axis.set_yscale("log")
                axis.legend()
            else:
                axis.set_xscale("log", base=10 if x == "words" else 2)
                axis.set_ylim(bottom=0)
        for axis, unit in zip(axes, ("words/s", "tokens/s", "words/s", "tokens/s"), strict=True):
            axis.set_ylabel(unit)
    first, last = tables["text"][0], tables["text"][-1]
    alt = (
        f"Speed of labeling in four panels: {first['per_second']:.0f} words per second for a text of {first['words']} "
        f"words, {last['per_second']:.0f} for one of {last['words']}; all values are in {name}.json."
    )
    return Plot(figure, name, alt, "Speed of labeling as texts, sentences, batches and models grow.")


if __name__ == "__main__":
    main()
