"""A mask plan for the prompt alone: its tokens see each other, the answer is written from left to right.

Our own addition. A demonstration inside the prompt sees its own answer then, so only the last answer can be learned.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from lookboth.data import cheapest_batches
from lookboth.errors import ConfigError
from lookboth.generative.key_values import Feed, KeyValues, Prefix, run_feeds
from lookboth.masking import MaskPlan, only_prompt_looks_right, under_plan
from lookboth.models import LanguageModel


class PromptedLanguageModel(LanguageModel):
    """A language model whose plan holds for the prompts of a batch only."""

    def forward(
        self, *args: Any, prompt: torch.Tensor | None = None, **kwargs: Any
    ) -> dict[str, torch.Tensor]:
        """Return what `LanguageModel.forward` returns.

        Args:
            args, kwargs: its arguments.
            prompt: which tokens belong to a prompt, shape (b, t).
        """
        with only_prompt_looks_right(prompt):
            return super().forward(*args, **kwargs)


def parse_prompt_plan(text: str, num_layers: int, *, loss: str | None, decoding: str) -> MaskPlan:
    """Return the plan of the prompt.

    Args:
        text: as in a recipe.
        num_layers: of the model.
        loss: of training; None where nothing is trained.
        decoding: of answers.

    Raises:
        ConfigError: what is learned would see itself, or answers are decoded freely.
        PlanError: the plan cannot be read.
    """
    if loss not in {None, "single"}:
        raise ConfigError(
            f"generative.prompt_plan with generative.loss = {loss!r}: tokens of the prompt would see the very tokens "
            "they are to predict. Set generative.loss = 'single'."
        )
    if decoding != "constrained":
        raise ConfigError("generative.prompt_plan needs generative.decoding = 'constrained'.")
    return MaskPlan.parse(text, num_layers)


def encode_prompts(
    model: Any, plan: MaskPlan, prompts: Sequence[Sequence[int]], *, batch_tokens: int = 2048
) -> Iterator[tuple[list[int], list[KeyValues]]]:
    """Yield, batch by batch, indices of prompts and what the model keeps of each under `plan`, but its last token.

    The last token sees the whole prompt under every plan, so what follows may begin with it, from left to right.

    Args:
        model: a causal language model of transformers.
        plan: of the prompt.
        prompts: token ids of each, two or more.
        batch_tokens: tokens of a forward pass.
    """
    for indices in cheapest_batches([len(prompt) for prompt in prompts], max_tokens=batch_tokens):
        feeds = [Feed(None, prompts[i], []) for i in indices]
        with under_plan(model, plan):
            fed = run_feeds(model, Prefix((), None), feeds, [0])
        yield indices, [fed.past_of(row, feed, len(feed.tokens) - 1) for row, feed in enumerate(feeds)]
