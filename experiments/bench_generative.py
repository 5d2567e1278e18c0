"""Speed of constrained decoding compared with transformers' `generate`: same constraint, model, prompts and answers.

    python experiments/bench_generative.py --sentences 32 --out bench.json

Both sides alternate in one run, block by block of sentences, so that other load on the machine affects both equally.
Only their ratio is meaningful. Ratios are of CPU seconds: per sentence without encoding the prefix, which is done once
per data set, and with the prefix in this run. `generate` is timed with one prompt at a time and in batches. Its
constraint also positions the automaton step by step, so that it costs as little as ours.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList

from lookboth.config.method_sections import GenerativeConfig
from lookboth.data.readers import read_split
from lookboth.generative.answer_automata import build_automaton
from lookboth.generative.codecs.codec_registry import build_codec
from lookboth.generative.constrained_decoding import decode_constrained
from lookboth.generative.demonstrations import Demonstrations
from lookboth.generative.key_values import Prefix, common_prefix, encode_prefix
from lookboth.generative.prompts import PromptWriter
from lookboth.generative.token_grammar import Grammar, GrammarPosition
from lookboth.models.builtin_models import resolve_model
from lookboth.models.loading import load_tokenizer

Tokens = tuple[int, ...]
Task = tuple[Tokens, Grammar]


class Constraint(LogitsProcessor):
    """Masks every token that the grammar does not allow next; it advances by one token per step."""

    def __init__(self, grammars: Sequence[Grammar], prompt_length: int) -> None:
        self.positions: list[GrammarPosition] = [grammar.begin() for grammar in grammars]
        self.prompt_length = prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores, with minus infinity for forbidden tokens."""
        if input_ids.shape[1] > self.prompt_length:
            last = input_ids[:, -1].tolist()
            self.positions = [
                w.advance(t) if w.allowed else w for w, t in zip(self.positions, last, strict=True)
            ]
        forbidden = torch.full_like(scores, -torch.inf)
        for row, position in enumerate(self.positions):
            allowed = list(position.allowed) or [0]
            forbidden[row, allowed] = scores[row, allowed]
        return forbidden


class Ours:
    """lookboth's constrained decoding; the shared prefix is encoded in the first call."""

    def __init__(self, model: Any, shared: Tokens) -> None:
        self.model, self.shared = model, shared
        self.prefix: Prefix | None = None

    def __call__(self, tasks: Sequence[Task]) -> list[Tokens]:
        """Return the tokens of each answer."""
        self.prefix = self.prefix or encode_prefix(self.model, self.shared)
        prompts, grammars = zip(*tasks, strict=True)
        return [a.tokens for a in decode_constrained(self.model, prompts, grammars, prefix=self.prefix)]


@dataclass
class Times:
    """Wall-clock and CPU seconds of one side."""

    wall: float = 0.0
    cpu: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Add the time of a `with` block."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu


def generate(model: Any, tasks: Sequence[Task], end_id: int, batch: int) -> list[Tokens]:
    """Return the answers of `generate`, with prompts sorted by length and padded on the left."""
    answers: dict[int, Tokens] = {}
    order = sorted(range(len(tasks)), key=lambda i: len(tasks[i][0]))
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        width = max(len(tasks[i][0]) for i in rows)
        ids = torch.tensor([[end_id] * (width - len(tasks[i][0])) + list(tasks[i][0]) for i in rows])
        mask = torch.tensor([[0] * (width - len(tasks[i][0])) + [1] * len(tasks[i][0]) for i in rows])
        output = model.generate(
            ids,
            attention_mask=mask,
            logits_processor=LogitsProcessorList([Constraint([tasks[i][1] for i in rows], width)]),
            do_sample=False,
            max_new_tokens=1000,
            eos_token_id=end_id,
            pad_token_id=end_id,
        )
        for i, row in zip(rows, output[:, width:].tolist(), strict=True):
            answers[i] = tuple(row[: row.index(end_id) + 1])
    return [answers[i] for i in range(len(tasks))]


def make_tasks(args: argparse.Namespace, tokenizer: Any) -> tuple[list[Task], int]:
    """Return prompts with their grammars, and the token that ends an answer."""
    train, dev = read_split(args.data, "train"), read_split(args.data, "dev")
    config = GenerativeConfig(k=args.k, demonstrations=args.demonstrations, chat=args.chat)
    writer = PromptWriter(tokenizer, build_codec(args.format, train.labels()), config)
    queries = [example.words for example in dev.examples[args.skip : args.skip + args.sentences]]
    shown = Demonstrations(train.examples, config, seed=args.seed).for_texts(queries)
    tasks = []
    for words, demonstrations in zip(queries, shown, strict=True):
        prompt = writer.prompt(words, demonstrations)
        automaton = build_automaton(writer.codec, prompt.words)
        tasks.append((prompt.input_ids, Grammar(automaton, writer.encoder.encode, (writer.end_id,))))
    return tasks, writer.end_id


def main() -> None:
    """Time all sides and print and write the result."""
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    model = (
        AutoModelForCausalLM.from_pretrained(resolve_model(args.model), dtype=torch.float32)
        .to(args.device)
        .eval()
    )
    tasks, end_id = make_tasks(args, load_tokenizer(args.model))
    shared = common_prefix([prompt for prompt, _ in tasks])
    sides: dict[str, Callable[[Sequence[Task]], list[Tokens]]] = {"lookboth": Ours(model, shared)}
    for size in args.batch:
        sides[f"generate, batch {size}"] = lambda t, size=size: generate(model, t, end_id, size)
    times, once = {name: Times() for name in sides}, Times()
    answers: dict[str, list[Tokens]] = {name: [] for name in sides}
    with torch.inference_mode():
        # Warm up, so that costs of the first call are not counted.
        for side in sides.values():
            side(tasks[:1])
        for first in range(0, len(tasks), args.block):
            for name, side in sides.items():
                with times[name].running():
                    answers[name] += side(tasks[first : first + args.block])
    with torch.inference_mode(), once.running():
        encode_prefix(model, shared)
    report(args, tasks, times, once, answers)


def report(
    args: argparse.Namespace,
    tasks: Sequence[Task],
    times: dict[str, Times],
    once: Times,
    answers: dict[str, list[Tokens]],
) -> None:
    """Print the table and write the JSON file."""
    ours, base = answers["lookboth"], times["lookboth"]
    rows = [
        {
            "side": name,
            "wall_seconds": round(taken.wall, 2),
            "cpu_seconds": round(taken.cpu, 2),
            "ratio_per_sentence": round(taken.cpu / base.cpu, 2),
            "ratio_with_prefix": round(taken.cpu / (base.cpu + once.cpu), 2),
            "identical_answers": sum(map(tuple.__eq__, answers[name], ours)) / len(ours),
        }
        for name, taken in times.items()
    ]
    result = {
        **{k: v for k, v in vars(args).items() if k != "out"},
        "torch": torch.__version__,
        "prompt_tokens": round(sum(len(prompt) for prompt, _ in tasks) / len(tasks), 1),
        "answer_tokens": round(sum(map(len, ours)) / len(ours), 1),
        "prefix_cpu_seconds": round(once.cpu, 2),
        "sides": rows,
    }
    print(
        f"{len(tasks)} sentences, {result['prompt_tokens']} prompt and {result['answer_tokens']} answer tokens each"
    )
    print(f"our prefix, once: {once.cpu:.2f} CPU seconds")
    for row in rows:
        print(
            f"{row['side']:22} {row['cpu_seconds']:8.2f} CPU s {row['ratio_per_sentence']:7.2f} x per sentence, "
            f"{row['ratio_with_prefix']:7.2f} x with our prefix, {row['identical_answers']:7.1%} identical"
        )
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--data", default="wnut17")
    parser.add_argument("--format", default="markup")
    parser.add_argument("--demonstrations", default="stratified")
    parser.add_argument("--chat", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=32)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument(
        "--block", type=int, default=16, help="sentences that a side decodes before the other's turn"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], help="batch sizes of generate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
