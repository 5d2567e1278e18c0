"""Merging the adapter of a generative labeler, compared by the token probabilities of its prompts."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from lookboth.generative.generative_labeler import GenerativeLabeler
from lookboth.generative.generative_model import GenerativeModel
from lookboth.labelers import Merged, merge_backbone
from lookboth.models import compute_in
from lookboth.types import Example


def merge_generative(labeler: GenerativeLabeler, sentences: Sequence[Sequence[str]]) -> Merged:
    """Merge the adapter of a generative labeler, and compare its next-token probabilities in prompts.

    The weights are changed in place: use the returned labeler, not the argument.

    Args:
        labeler: a labeler whose adapter is apart from its weights.
        sentences: words of the texts in the prompts.

    Raises:
        ModelError: the labeler does not have an adapter, or its backbone is in 4 bits.
    """
    prompts = [prompt.input_ids for prompt in labeler.prompts([Example(tuple(words)) for words in sentences])]
    before = [_probabilities(labeler.model, prompt) for prompt in prompts]
    # The language model contains the backbone, so its adapter is merged as well.
    backbone = merge_backbone(labeler.model.backbone, labeler.config.adapter)
    merged = GenerativeLabeler(
        replace(labeler.config, adapter="merged"),
        GenerativeModel(backbone, labeler.model.language),
        labeler.tokenizer,
        labeler.demonstrations.kept(),
        is_draw=True,
    )
    after = [_probabilities(merged.model, prompt) for prompt in prompts]
    change = max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True))
    return Merged(merged, change, "token")


@torch.inference_mode()
def _probabilities(model: GenerativeModel, prompt: Sequence[int]) -> torch.Tensor:
    """Return the probability of every next token at the end of a prompt, shape (vocabulary,)."""
    language = model.language.model
    ids = torch.tensor([prompt], device=next(language.parameters()).device)
    with compute_in(model.compute_dtype, language):
        return language(input_ids=ids).logits[0, -1].float().softmax(-1)
