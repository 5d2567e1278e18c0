"""Predictions for texts of several labelers; those that share a backbone are computed in the same batches."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lookboth.inference import (
    FORBIDDEN,
    HeadLabeler,
    TextLabeler,
    join_scores,
    piece_scores,
    predict_from_scores,
    tokenize_for,
)
from lookboth.labelers.labeler import Labeler
from lookboth.models import mixed_logits
from lookboth.types import Prediction, TokenizedExample


def predict_mixed(
    pairs: Sequence[tuple[TextLabeler, str]], batch_tokens: int | None = None
) -> list[Prediction]:
    """Label raw texts, each with its own labeler; labelers on one backbone share batches.

    Args:
        pairs: labelers and texts, in any order.
        batch_tokens: tokens per batch; None: a default for the device.
    """
    texts: dict[int, list[int]] = {}
    for place, (labeler, _) in enumerate(pairs):
        texts.setdefault(id(labeler), []).append(place)
    labelers = [pairs[places[0]][0] for places in texts.values()]
    num_sharing = Counter(labeler.batch_key for labeler in labelers)
    mixed: list[tuple[HeadLabeler, Sequence[str], Sequence[int]]] = []
    found: dict[int, Prediction] = {}
    for labeler, places in zip(labelers, texts.values(), strict=True):
        own = [pairs[place][1] for place in places]
        if isinstance(labeler, HeadLabeler) and labeler.batch_key and num_sharing[labeler.batch_key] > 1:
            mixed.append((labeler, own, places))
        else:
            found |= dict(zip(places, labeler.predict(own, batch_tokens=batch_tokens), strict=True))
    shared = _label_shared([(labeler, own) for labeler, own, _ in mixed], batch_tokens)
    found |= dict(zip([place for _, _, places in mixed for place in places], shared, strict=True))
    return [found[place] for place in range(len(pairs))]


def _label_shared(
    parts: Sequence[tuple[HeadLabeler, Sequence[str]]], batch_tokens: int | None
) -> Iterator[Prediction]:
    """Yield the predictions of each labeler for its texts, one labeler after the other."""
    examples = [[labeler.read_text(text) for text in texts] for labeler, texts in parts]
    pieces = [tokenize_for(labeler, own) for (labeler, _), own in zip(parts, examples, strict=True)]
    owned = [(labeler, piece) for (labeler, _), own in zip(parts, pieces, strict=True) for piece in own]
    scores = iter(mixed_scores(owned, batch_tokens))
    for (labeler, _), own, cut in zip(parts, examples, pieces, strict=True):
        joined = join_scores(labeler, own, [(piece, next(scores)) for piece in cut])
        yield from (prediction for prediction, _ in predict_from_scores(labeler, own, joined))


def mixed_scores(
    owned: Sequence[tuple[HeadLabeler, TokenizedExample]], batch_tokens: int | None = None
) -> list[np.ndarray]:
    """Return the scores of the words of each piece, (w, num_tags) in the tags of its labeler.

    Args:
        owned: pieces in any order, each with its labeler.
        batch_tokens: tokens per batch; None: a default for the device.
    """
    groups: dict[Hashable, list[int]] = {}
    for number, (labeler, _) in enumerate(owned):
        groups.setdefault(labeler.batch_key or id(labeler), []).append(number)
    found: dict[int, np.ndarray] = {}
    for numbers in groups.values():
        # Pieces are numbered, because `piece_scores` returns them in another order.
        owners = {number: owned[number][0] for number in numbers}
        pieces = [replace(owned[number][1], example=number) for number in numbers]
        for piece, scores in piece_scores(_MixedScorer(owners), pieces, batch_tokens):
            found[piece.example] = scores[:, : len(owners[piece.example].config.tags)]
    return [found[number] for number in range(len(owned))]


class _MixedScorer:
    """Scores batches whose pieces belong to several labelers.

    Args:
        owners: the labeler of each piece by `TokenizedExample.example`; all have the same `batch_key`.
    """

    def __init__(self, owners: Mapping[int, HeadLabeler]) -> None:
        self._owners = owners
        self._batch_tokens = next(iter(owners.values())).batch_tokens

    @property
    def batch_tokens(self) -> int:
        """Default number of tokens per batch."""
        return self._batch_tokens

    def score(self, pieces: Sequence[TokenizedExample]) -> np.ndarray:
        """Return the scores of every word of one batch, (w, tags of the labeler with most), the rest padded."""
        own: dict[int, list[TokenizedExample]] = {}
        labelers: dict[int, HeadLabeler] = {}
        for piece in pieces:
            labeler = self._owners[piece.example]
            labelers[id(labeler)] = labeler
            own.setdefault(id(labeler), []).append(piece)
        scored: dict[int, np.ndarray] = {}
        for key, rows in zip(own, _score_parts([(labelers[key], own[key]) for key in own]), strict=True):
            ends = np.cumsum([len(piece.word_tokens) for piece in own[key]])[:-1]
            scored.update(zip((piece.example for piece in own[key]), np.split(rows, ends), strict=True))
        most = max(rows.shape[1] for rows in scored.values())
        return np.concatenate([_widened(scored[piece.example], most) for piece in pieces])


def _score_parts(parts: Sequence[tuple[HeadLabeler, Sequence[TokenizedExample]]]) -> Sequence[np.ndarray]:
    """Return the scores of the pieces of each labeler; several labelers are computed in one pass."""
    if len(parts) == 1:
        labeler, pieces = parts[0]
        return [labeler.score(pieces)]
    models = [(labeler.model, pieces) for labeler, pieces in parts if isinstance(labeler, Labeler)]
    plan = parts[0][0].config.plan
    return [logits.cpu().numpy() for logits in mixed_logits(models, plan)]


def _widened(rows: np.ndarray, width: int) -> np.ndarray:
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=FORBIDDEN)
