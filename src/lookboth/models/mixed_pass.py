"""One forward pass over the texts of several labelers that share a backbone."""

from collections.abc import Hashable, Sequence
from itertools import accumulate, pairwise

import torch

from lookboth.data import build_batch, group_rows, place_inputs
from lookboth.masking import MaskPlan
from lookboth.models.labeler_model import LabelerModel
from lookboth.models.shared_backbone import pairs_of, row_pairs, stock_of
from lookboth.types import TokenizedExample


def mixing_key(model: LabelerModel) -> Hashable | None:
    """Return what models must have in common to be mixed in one pass; None if this one cannot be mixed."""
    stock = stock_of(model.backbone)
    rows = row_pairs(stock)
    if rows is None or not rows.mixes:
        return None
    return id(stock), model.compute_dtype, model.head.mix is None


def mixed_logits(
    parts: Sequence[tuple[LabelerModel, Sequence[TokenizedExample]]], plan: MaskPlan
) -> list[torch.Tensor]:
    """Return the logits of the words of each part, (w, num_tags) in its own tags, from one pass of the backbone.

    Args:
        parts: models with equal `mixing_key`, each with its pieces, at least one.
        plan: the mask plan of all rows.
    """
    first, pieces = parts[0][0], [piece for _, own in parts for piece in own]
    device = next(first.head.parameters()).device
    inputs = place_inputs(build_batch(pieces).inputs(), device)
    stock = stock_of(first.backbone)
    rows = row_pairs(stock)
    assert rows is not None
    places = _slices([len(group_rows(own)) for _, own in parts])
    active = [(place, pairs_of(model.backbone)) for place, (model, _) in zip(places, parts, strict=True)]
    with first.predicting(plan), rows.using(active):
        output = first.run(
            stock, inputs["input_ids"], inputs["position_ids"], inputs["attention_mask"], inputs["facts"]
        )
        texts = _slices([len(own) for _, own in parts])
        words = _slices([sum(len(piece.word_tokens) for piece in own) for _, own in parts])
        return [
            model.score_output(
                output, inputs["word_first"][word], inputs["word_last"][word], inputs["num_words"][text]
            )
            for (model, _), text, word in zip(parts, texts, words, strict=True)
        ]


def _slices(lengths: Sequence[int]) -> list[slice]:
    """Return consecutive slices of these lengths.

    >>> _slices([2, 3])
    [slice(0, 2, None), slice(2, 5, None)]
    """
    return [slice(*ends) for ends in pairwise(accumulate(lengths, initial=0))]
