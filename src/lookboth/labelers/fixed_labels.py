"""Fixed labels: an open labeler with named labels becomes an ordinary labeler with a linear head."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from lookboth.compat import weight_states
from lookboth.config import HeadConfig
from lookboth.data import (
    LabelText,
    WordEncoder,
    build_batch,
    cheapest_batches,
    encode_label,
    place_inputs,
    tags_for_labels,
)
from lookboth.inference import Confidence
from lookboth.masking import under_plan
from lookboth.memory import SMALL_BATCH
from lookboth.models import LABEL_POOLING, LabelerModel
from lookboth.models.heads import OpenHead

if TYPE_CHECKING:
    from lookboth.labelers.labeler_config import LabelerConfig

# Vectors; tens of megabytes at most.
_CACHE_LIMIT = 2000


class LabelVectors:
    """The vectors of labels by text, computed once while the weights do not change.

    Args:
        model: an open model.
        encoder: encoder of the words of a label.
        config: settings of the labeler; labels are read under its plan.
    """

    def __init__(self, model: LabelerModel, encoder: WordEncoder, config: "LabelerConfig") -> None:
        self._model, self._encoder, self._config = model, encoder, config
        self._cache: dict[str, torch.Tensor] = {}
        # The weights that the vectors in the cache were computed with.
        self._weights: list[tuple[int, int, int]] = []

    def of(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the vector of each text, (L, hidden).

        Raises:
            ConfigError: a text is too long.
        """
        weights = weight_states([*self._model.modules()])
        full = len(self._cache) + len(texts) > _CACHE_LIMIT
        if self._model.training or full or weights != self._weights:
            self._cache.clear()
        self._weights = weights
        missing = list(dict.fromkeys(text for text in texts if text not in self._cache))
        found = self._cache | dict(zip(missing, self._compute(missing), strict=True))
        # In training the weights change with every step, and the best ones are restored at its end.
        if not self._model.training:
            self._cache = found
        return torch.stack([found[text] for text in texts])

    @torch.no_grad()
    def _compute(self, texts: Sequence[str]) -> Sequence[torch.Tensor]:
        model, training = self._model, self._model.training
        lead = self._config.head.label_lead
        pieces = [encode_label(self._encoder, text, lead) for text in texts]
        found: dict[int, torch.Tensor] = {}
        model.eval()
        with under_plan(model.backbone, self._config.plan):
            for batch in cheapest_batches(list(map(len, pieces)), max_tokens=SMALL_BATCH):
                found.update(zip(batch, self._encode([pieces[i] for i in batch]), strict=True))
        model.train(training)
        return [found[i] for i in range(len(texts))]

    def _encode(self, pieces: Sequence[Any]) -> Iterator[torch.Tensor]:
        batch = place_inputs(build_batch(pieces).inputs(), next(self._model.head.parameters()).device)
        places = batch["word_first"], batch["word_last"], batch["position_ids"], batch["attention_mask"]
        yield from self._model.encode(
            batch["input_ids"], *places, pooling=LABEL_POOLING, facts=batch["facts"]
        )


def fix_labels(
    config: "LabelerConfig", model: LabelerModel, labels: Sequence[LabelText], vectors: torch.Tensor
) -> tuple["LabelerConfig", LabelerModel]:
    """Return config and model of the ordinary labeler that an open labeler becomes with these labels.

    The backbone is shared; the label vectors are the weights of the new linear head.

    Args:
        config, model: of the open labeler.
        labels: the labels, sorted by name.
        vectors: their vectors, shape (L, hidden).
    """
    tags = tags_for_labels([label.name for label in labels], config.scheme)
    # Thresholds and quantiles belong to labels, and the temperature was measured on the old ones.
    head_config = HeadConfig(kind="linear", **config.head.model_dump(exclude={"kind", "label_lead"}))
    fixed = replace(
        config,
        tags=tags,
        head=head_config,
        label_texts=(),
        confidence=Confidence(),
    )
    assert isinstance(model.head, OpenHead)
    head = model.head.fixed(vectors, tags)
    made = LabelerModel(
        model.backbone, fixed, dropout=model.dropout.p, compute_dtype=model.compute_dtype, head=head
    )
    made.fast_form = model.fast_form
    # Not `train`, which would also change the mode of the shared backbone.
    made.training = made.head.training = made.dropout.training = model.training
    return fixed, made
