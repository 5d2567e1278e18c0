"""Training and prediction of large models with random weights: python experiments/bench/large.py --shape 7B

For a GPU. Measures words per second, share of the measured peak of matrix products (MFU) and peak memory of LoRA (rank
16 on q and v) in bf16, on the lengths of real sentences. `--shape tiny --device cpu` tests the script.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from alternate import timed, write_result
from growth import SHAPES
from torch import nn
from training import padded, recipe

from lookboth.config.recipe import RunConfig
from lookboth.data.alignment import Encoding, WordEncoder
from lookboth.data.batch_facts import place_inputs
from lookboth.data.schemes import tags_for_labels
from lookboth.data.sources import read_source
from lookboth.errors import LookbothError
from lookboth.labelers.labeler_config import LabelerConfig
from lookboth.masking.attention import apply_plan
from lookboth.masking.plan import MaskPlan
from lookboth.models.labeler_model import LabelerModel
from lookboth.models.loading import load_tokenizer
from lookboth.quiet import quiet_libraries
from lookboth.training.adapters import add_adapter
from lookboth.training.batches import RunBatches, tokenize_examples
from lookboth.training.run_finishing import labels_of
from lookboth.types import TokenizedExample

ADAPTER = recipe("smollm2-135m", "bf16", "bucketed").adapter
RESULTS = Path(__file__).parent.parent / "results" / "bench"
VOCABULARY = 32_000
TINY = (64, 128, 4, 4, 2)
Work = Callable[[], None]


def main() -> None:
    """Measure each side, print it and write all results as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=["tiny", *SHAPES], default="7B")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sentences", type=int, default=512)
    parser.add_argument("--batch-tokens", type=int, default=4096, help="tokens per batch of lookboth")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    quiet_libraries()
    pieces, tags, words = sentences(options.sentences)
    bench = Bench(options.shape, options.device, pieces, tags, options.batch_tokens)
    peak = peak_products(options.device)
    rows = []
    for name, make in bench.sides().items():
        rows.append({"side": name, **measure(make, options.rounds, options.device)})
        if seconds := rows[-1].get("seconds"):
            flops = (4 if name.startswith("train") else 2) * bench.weights * bench.tokens
            rows[-1] |= {
                "words_per_second": round(words / seconds, 1),
                "mfu": round(flops / seconds / peak, 3),
            }
        print(rows[-1], flush=True)
    work = f"{options.shape} shape, random weights, bf16, {options.sentences} WNUT-17 sentences, {options.device}"
    file = options.out / f"large_{options.shape}.json"
    write_result(file, work=work, tables={"sides": rows, "peak_tflops": round(peak / 1e12, 1)})
    print(f"written: {file}")


def sentences(count: int) -> tuple[list[TokenizedExample], tuple[str, ...], int]:
    """Return tokenized WNUT-17 sentences, the tag set and the number of words."""
    examples = list(read_source("wnut17", "train").examples)[:count]
    tags = tags_for_labels(labels_of(examples), "IOB2")
    encoder = WordEncoder(load_tokenizer("smollm2-135m"))
    config = recipe("smollm2-135m", "bf16", "bucketed")
    pieces = tokenize_examples(examples, encoder, tags=tags, config=config)
    return list(pieces), tags, sum(len(example.words) for example in examples)


class Bench:
    """The sides, each with the same sentences and a model of the same shape.

    Args:
        shape: a key of SHAPES, or "tiny".
        device: device of all sides.
        pieces: tokenized sentences; token ids are taken modulo the vocabulary size.
        tags: tag set of the head.
        batch_tokens: tokens per batch of lookboth.
    """

    def __init__(
        self, shape: str, device: str, pieces: list[TokenizedExample], tags: Sequence[str], batch_tokens: int
    ) -> None:
        self.size = TINY if shape == "tiny" else SHAPES[shape]
        self.device, self.pieces, self.tags, self.batch_tokens = device, pieces, tuple(tags), batch_tokens
        hidden, intermediate, layers, heads, kv_heads = self.size
        self.weights = layers * hidden * (2 * hidden + 2 * hidden * kv_heads // heads + 3 * intermediate)
        self.tokens = sum(map(len, pieces))

    def sides(self) -> dict[str, Callable[[], Work]]:
        """Return a function that builds each side; sides are built one at a time, as two models may not fit."""
        stock, padded_128 = self._rows(None), self._rows(128)
        return {
            "train, papers: 16 padded to 128, 4-D masks, eager, checkpointing": lambda: train(
                self._stock("eager", trained=True, checkpointing=True), padded_128
            ),
            "train, usual: 16 padded, stock mask": lambda: train(self._stock("sdpa", trained=True), stock),
            "train, lookboth: bucketed, 0011": lambda: train(
                self._ours("sdpa", trained=True), self._planned("bucketed")
            ),
            "train, lookboth: packed, flex, 0011": lambda: train(
                self._ours("flex_attention", trained=True), self._planned("packed")
            ),
            "train, lookboth: packed, varlen, 0011": lambda: train(
                self._ours("varlen", trained=True), self._planned("packed")
            ),
            "predict, usual: 16 padded, stock mask": lambda: predict(
                self._stock("sdpa", trained=False), stock
            ),
            "predict, lookboth: bucketed, 0011": lambda: predict(
                self._ours("sdpa", trained=False), self._planned("bucketed")
            ),
            "predict, lookboth: packed, varlen, 0011": lambda: predict(
                self._ours("varlen", trained=False), self._planned("packed")
            ),
        }

    def _backbone(self, attention: str) -> Any:
        from transformers import LlamaConfig, LlamaModel

        hidden, intermediate, layers, heads, kv_heads = self.size
        config = LlamaConfig(
            hidden_size=hidden,
            intermediate_size=intermediate,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            vocab_size=VOCABULARY,
            attn_implementation=attention,
        )
        with torch.device(self.device):
            return LlamaModel(config).to(torch.bfloat16)

    def _ours(self, attention: str, *, trained: bool) -> nn.Module:
        backbone = self._backbone(attention)
        plan = MaskPlan.parse("0011", self.size[2])
        apply_plan(backbone, plan)
        if trained:
            backbone = add_adapter(backbone, ADAPTER)
        config = LabelerConfig(
            base="random",
            fingerprint="",
            plan=plan,
            tags=self.tags,
            scheme="IOB2",
            label_on="last",
            encoding=Encoding.detect(load_tokenizer("smollm2-135m")),
        )
        return LabelerModel(backbone, config, compute_dtype=torch.bfloat16).to(self.device)

    def _stock(self, attention: str, *, trained: bool, checkpointing: bool = False) -> nn.Module:
        backbone = self._backbone(attention)
        if trained:
            backbone = add_adapter(backbone, ADAPTER)
        if checkpointing:
            backbone.activation_checkpointing_enable({"use_reentrant": False})
        return Stock(backbone, self.size[0], len(self.tags)).to(self.device)

    def _rows(self, pad_to: int | None) -> list[dict[str, Any]]:
        """Return padded batches of 16 in the order of the data."""
        starts = range(0, len(self.pieces), 16)
        return [self._folded(padded(self.pieces[i : i + 16], pad_to, self.device)) for i in starts]

    def _planned(self, layout: str) -> list[dict[str, Any]]:
        config: RunConfig = recipe("smollm2-135m", "bf16", layout)
        training = config.training.model_copy(update={"epochs": 1, "batch_tokens": self.batch_tokens})
        config = config.model_copy(update={"training": training})
        planned = RunBatches.build(self.pieces, config=config, seed=0, pad_id=0)
        return [self._folded(place_inputs(planned[i], self.device)) for i in range(len(planned))]

    def _folded(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "input_ids": batch["input_ids"] % VOCABULARY}


class Stock(nn.Module):
    """A minimal form of transformers' token classifier: a linear head on the states of all tokens.

    Args:
        backbone: transformers model.
        hidden: size of its hidden states.
        num_tags: number of outputs of the head.
    """

    def __init__(self, backbone: nn.Module, hidden: int, num_tags: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(hidden, num_tags)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return logits of all tokens and, with labels, their mean loss."""
        mask = attention_mask.to(torch.bfloat16) if attention_mask.dim() == 4 else attention_mask
        states = self.backbone(input_ids=input_ids, attention_mask=mask, use_cache=False)
        logits = self.head(states.last_hidden_state.float())
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())}


def train(model: nn.Module, batches: Sequence[dict[str, Any]]) -> Work:
    """Return a function that runs one pass over the batches, with one optimizer step per batch."""
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def work() -> None:
        for batch in batches:
            model(**batch)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()

    return work


def predict(model: nn.Module, batches: Sequence[dict[str, Any]]) -> Work:
    """Return a function that runs one pass over the batches without labels."""
    model.eval()

    def work() -> None:
        with torch.inference_mode():
            for batch in batches:
                model(**{name: tensor for name, tensor in batch.items() if name != "labels"})

    return work


def measure(make: Callable[[], Work], rounds: int, device: str) -> dict[str, Any]:
    """Return the median seconds of a round and the peak GPU memory, or the error of a side that failed."""
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        work = make()
        work()
        seconds = [timed(work) for _ in range(rounds)]
    except (LookbothError, RuntimeError, torch.OutOfMemoryError) as error:
        return {"failed": str(error).split("\n", maxsplit=1)[0]}
    found: dict[str, Any] = {"seconds": round(median(seconds), 4), "rounds": [round(s, 4) for s in seconds]}
    return found | ({"peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1)} if on_gpu else {})


def peak_products(device: str) -> float:
    """Measure the operations per second of a large bf16 matrix product."""
    size = 8192 if device.startswith("cuda") else 1024
    left, right = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))
    left @ right
    return 2 * size**3 / min(timed(lambda: left @ right) for _ in range(10))


if __name__ == "__main__":
    main()
