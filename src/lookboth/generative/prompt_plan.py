"""A mask plan for the prompt only: prompt tokens may attend to the right, the answer stays causal.

Our own addition. A demonstration inside the prompt then attends to its own answer, so only the last answer
can be trained.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from lookboth.data import cheapest_batches
from lookboth.generative.key_values import Feed, KeyValues, Prefix, run_feeds
from lookboth.masking import MaskPlan, only_prompt_looks_right, under_plan
from lookboth.memory import LARGE_BATCH
from lookboth.models import LanguageModel


class PromptedLanguageModel(LanguageModel):
    """A language model whose plan applies only to the prompts of a batch."""

    def forward(
        self, *args: Any, prompt: torch.Tensor | None = None, **kwargs: Any
    ) -> dict[str, torch.Tensor]:
        """Return the output of `LanguageModel.forward`.

        Args:
            args, kwargs: arguments of `LanguageModel.forward`.
            prompt: mask of the prompt tokens, shape (b, t).
        """
        with only_prompt_looks_right(prompt):
            return super().forward(*args, **kwargs)


def encode_prompts(
    model: Any, plan: MaskPlan, prompts: Sequence[Sequence[int]], *, batch_tokens: int = LARGE_BATCH
) -> Iterator[tuple[list[int], list[KeyValues]]]:
    """Yield batches of prompt indices with the keys and values of each prompt under `plan`, without its last
    token.

    The last token attends to the whole prompt under every plan. So decoding can start with it, under the
    causal mask.

    Args:
        model: a causal language model of transformers.
        plan: plan of the prompt.
        prompts: token ids of each prompt, at least two.
        batch_tokens: token budget of a forward pass.
    """
    for indices in cheapest_batches([len(prompt) for prompt in prompts], max_tokens=batch_tokens):
        feeds = [Feed(None, prompts[i], []) for i in indices]
        with under_plan(model, plan):
            fed = run_feeds(model, Prefix((), None), feeds, [0])
        yield indices, [fed.past_of(row, feed, len(feed.tokens) - 1) for row, feed in enumerate(feeds)]
