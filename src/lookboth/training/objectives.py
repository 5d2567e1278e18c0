"""Training objectives on raw text: causal, masked and masked-next-token language modeling."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lookboth.data import Encoding
from lookboth.errors import ConfigError
from lookboth.types import TokenizedExample

ObjectiveName = Literal["clm", "clm_under_plan", "mntp", "mlm"]
Masking = Literal["bert", "all"]
# Shares of the tokens to predict; the rest is left unchanged (BERT).
_SHARE_MASKED, _SHARE_RANDOM = 0.8, 0.1


@dataclass(frozen=True)
class Objective:
    """A self-supervised objective on the tokens of a text.

    clm, clm_under_plan: predict every token from the position before it. mntp: predict masked tokens from the
    position before them (LLM2Vec, BehnamGhader et al. 2024, section 2.1). mlm: predict masked tokens from their
    own position. Special tokens around a text are neither masked nor predicted; those inside a block of several
    texts are predicted under clm, as in llm-unmasking.

    Args:
        name: name of the objective.
        encoding: source of the special tokens around a text.
        mask_share: share of tokens to predict under mntp and mlm.
        mask_id: id of the mask token.
        vocab_size: random tokens are drawn from range(vocab_size).
        masking: "bert": of the tokens to predict, 80 % are masked, 10 % replaced by a random token and 10 %
            unchanged (Devlin et al. 2019, section 3.1); "all": all are masked.
        in_blocks: whether a piece is a block of several texts, each with its special tokens.
    """

    name: ObjectiveName
    encoding: Encoding
    mask_share: float = 0.2
    mask_id: int = 0
    vocab_size: int = 1
    masking: Masking = "bert"
    in_blocks: bool = False

    @property
    def predicts_all(self) -> bool:
        """Whether every token is predicted, and none is masked."""
        return self.name in ("clm", "clm_under_plan")

    def set_targets(self, piece: TokenizedExample, rng: random.Random) -> TokenizedExample:
        """Return `piece` with masked tokens and one "word" of one token at each predicting position.

        The label of such a word is the token to predict.

        >>> nothing_around = Encoding("", (), (), 0)
        >>> text = TokenizedExample((5, 6, 7), ())
        >>> Objective("clm", nothing_around).set_targets(text, random.Random(0))
        TokenizedExample(input_ids=(5, 6, 7), word_tokens=((0, 1), (1, 2)), labels=(6, 7), example=0, first_word=0)
        """
        ids = list(piece.input_ids)
        shift = 0 if self.name == "mlm" else 1
        places = self._predictable(ids, shift)
        chosen = [place for place in places if self.predicts_all or rng.random() < self.mask_share]
        if not self.predicts_all:
            for place in chosen:
                ids[place] = self._hide(ids[place], rng)
        return replace(
            piece,
            input_ids=tuple(ids),
            word_tokens=tuple((place - shift, place - shift + 1) for place in chosen),
            labels=tuple(piece.input_ids[place] for place in chosen),
        )

    def _predictable(self, ids: Sequence[int], shift: int) -> Sequence[int]:
        """Return the places of the tokens that may be predicted."""
        prefix, suffix = self.encoding.prefix_ids, self.encoding.suffix_ids
        # Under clm and mntp the first token has no position before it that could predict it.
        if not self.in_blocks:
            return range(max(len(prefix), shift), len(ids) - len(suffix))
        special = () if self.predicts_all else (*prefix, *suffix)
        return [place for place in range(shift, len(ids)) if ids[place] not in special]

    def _hide(self, token: int, rng: random.Random) -> int:
        if self.masking == "all":
            return self.mask_id
        draw = rng.random()
        if draw < _SHARE_MASKED:
            return self.mask_id
        return rng.randrange(self.vocab_size) if draw < _SHARE_MASKED + _SHARE_RANDOM else token


def find_mask_token(tokenizer: Any, wanted: str | None = None) -> int:
    """Return the id of the mask token.

    Tokenizers of decoders have no mask token; "_" is used instead, as in LLM2Vec for Llama and Mistral.

    Args:
        tokenizer: a Hugging Face tokenizer.
        wanted: a token to use instead.

    Raises:
        ConfigError: `wanted` is not in the vocabulary.
    """
    if wanted is not None:
        found = tokenizer.get_vocab().get(wanted)
        if found is None:
            raise ConfigError(
                f"adaptation.mask_token = {wanted!r}: not a token of this model. Leave it out for the default."
            )
        return int(found)
    if tokenizer.mask_token_id is not None:
        return int(tokenizer.mask_token_id)
    return int(tokenizer("_", add_special_tokens=False, verbose=False)["input_ids"][-1])
