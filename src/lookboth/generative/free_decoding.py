"""Free decoding: unconstrained generation, greedy or sampled, with the probability of every token."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from lookboth.config import GenerativeConfig
from lookboth.data import cheapest_batches
from lookboth.generative.prompts import Prompt, PromptWriter
from lookboth.memory import LARGE_BATCH
from lookboth.models import LanguageModel, compute_in


@dataclass(frozen=True, slots=True)
class FreeAnswer:
    """A generated answer.

    Args:
        text: the answer, without its end token.
        token_ends: for each token, the number of characters of `text` after it.
        log_probs: log-probability of each token given all before it.
        finished: whether the model ended the answer before the token limit.
    """

    text: str
    token_ends: tuple[int, ...]
    log_probs: tuple[float, ...]
    finished: bool

    def log_prob(self, start: int, end: int) -> float:
        """Return the mean log-probability of the tokens that cover the characters [start, end).

        >>> FreeAnswer("a bc", (1, 2, 4), (-1.0, -2.0, -4.0), True).log_prob(2, 4)
        -4.0
        """
        starts = (0, *self.token_ends)
        inside = [
            value
            for begin, stop, value in zip(starts, self.token_ends, self.log_probs, strict=False)
            if begin < end and stop > start
        ]
        return sum(inside) / len(inside) if inside else 0.0


def write_freely(
    model: LanguageModel, writer: PromptWriter, prompts: Sequence[Prompt], *, batch_tokens: int = LARGE_BATCH
) -> list[FreeAnswer]:
    """Return the answer of the model to each prompt, greedy or sampled as the writer's configuration says.

    Args:
        model: the language model.
        writer: writer of the prompts.
        prompts: prompts of any length; batches contain prompts of similar length.
        batch_tokens: token budget for the prompts of a batch.
    """
    answers: list[Any] = [None] * len(prompts)
    was_training = model.training
    model.eval()
    for indices in cheapest_batches([len(prompt.input_ids) for prompt in prompts], max_tokens=batch_tokens):
        batch = [prompts[i] for i in indices]
        for index, answer in zip(indices, _generate(model, writer, batch), strict=True):
            answers[index] = answer
    model.train(was_training)
    return answers


class _Chooser(LogitsProcessor):
    """Makes greedy generation take the chosen token of each step, and records its log-probability.

    The maximum of scores with Gumbel noise is a sample of their softmax. Each prompt has its own noise, so its
    answer does not depend on the other prompts of the batch.

    Args:
        prompts: prompts of the batch, one per row.
        config: temperature, top_p and seed of sampling.
    """

    def __init__(self, prompts: Sequence[Prompt], config: GenerativeConfig) -> None:
        self.config = config
        self.steps: list[torch.Tensor] = []
        self._rows = [_generator(prompt.input_ids, config.sample_seed) for prompt in prompts]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        ranked = scores if self.config.temperature == 0 else self._with_noise(scores.float())
        chosen = ranked.argmax(-1, keepdim=True)
        self.steps.append(scores.float().log_softmax(-1).gather(-1, chosen).squeeze(-1))
        return ranked

    def _with_noise(self, scores: torch.Tensor) -> torch.Tensor:
        kept = _nucleus(scores / self.config.temperature, self.config.top_p)
        # On the CPU, where each row can have its own generator on every kind of device.
        noise = [torch.empty(scores.shape[-1]).exponential_(generator=row) for row in self._rows]
        return kept - torch.stack(noise).to(scores.device).log()


def _generator(ids: Sequence[int], seed: int) -> torch.Generator:
    digest = hashlib.sha256(repr((seed, tuple(ids))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _nucleus(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    """Return scores in which all but the most probable tokens that sum to `top_p` are minus infinity."""
    if top_p == 1:
        return scores
    ordered, indices = scores.sort(-1, descending=True)
    probabilities = ordered.softmax(-1)
    # A token is outside where the more probable ones reach the sum; the first one never is.
    outside = probabilities.cumsum(-1) - probabilities >= top_p
    return scores.masked_fill(outside.scatter(-1, indices, outside), float("-inf"))


def _generate(model: LanguageModel, writer: PromptWriter, prompts: Sequence[Prompt]) -> list[FreeAnswer]:
    device = next(model.parameters()).device
    longest = max(len(prompt.input_ids) for prompt in prompts)
    ids = torch.full((len(prompts), longest), writer.end_id)
    mask = torch.zeros_like(ids)
    # Padded on the left, so that the answer directly follows the prompt.
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt.input_ids) :] = torch.tensor(prompt.input_ids)
        mask[row, longest - len(prompt.input_ids) :] = 1
    chooser = _Chooser(prompts, writer.config)
    settings = GenerationConfig(
        max_new_tokens=max(prompt.max_answer_tokens for prompt in prompts),
        do_sample=False,
        use_cache=True,
        eos_token_id=sorted(writer.stop_ids),
        pad_token_id=writer.end_id,
    )
    with torch.inference_mode(), compute_in(model.compute_dtype, model.model), _without_habits(model.model):
        written = model.model.generate(
            ids.to(device),
            attention_mask=mask.to(device),
            generation_config=settings,
            logits_processor=LogitsProcessorList([chooser]),
        )
    tokens = written[:, longest:].tolist()
    log_probs = torch.stack(chooser.steps, 1).tolist()
    return [
        read_answer(writer, row[: prompt.max_answer_tokens], values)
        for row, values, prompt in zip(tokens, log_probs, prompts, strict=True)
    ]


@contextmanager
def _without_habits(model: Any) -> Iterator[None]:
    """Reset the generation defaults that come with a model; transformers uses them for all options we leave
    open.

    A repetition penalty, for example, would keep an answer from copying the words of the text.
    """
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def read_answer(writer: PromptWriter, tokens: Sequence[int], log_probs: Sequence[float]) -> FreeAnswer:
    """Return the answer up to the first end token.

    Args:
        writer: the prompt writer, which has the end tokens.
        tokens: generated tokens, possibly padded.
        log_probs: log-probability of each token.
    """
    length = next((i for i, token in enumerate(tokens) if token in writer.stop_ids), len(tokens))
    # A single token may be part of a character, so decode every prefix instead of every token.
    prefixes = [list(tokens[: i + 1]) for i in range(length)]
    texts = writer.tokenizer.batch_decode(prefixes, clean_up_tokenization_spaces=False) if prefixes else [""]
    ends = tuple(len(text) for text in texts[:length])
    return FreeAnswer(texts[-1], ends, tuple(log_probs[:length]), length < len(tokens))
