"""Texts truncated to max_tokens instead of read in windows, as in several papers: `truncate = true`."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from lookboth.config import RunConfig
from lookboth.data import WordEncoder, text_and_offsets
from lookboth.errors import ConfigError
from lookboth.models import load_tokenizer
from lookboth.training.batches import word_encoding
from lookboth.training.splits import Splits
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)


def truncate_splits(splits: Splits, config: RunConfig) -> Splits:
    """Return the data of a recipe with every text truncated to `max_tokens` tokens.

    Args:
        splits: the data as read.
        config: a recipe; without `truncate` the splits are returned unchanged.

    Raises:
        ConfigError: the tokenizer does not report character offsets.
    """
    if not config.truncate:
        return splits
    cut = _cutter(config)
    train, dev = cut(splits.train), cut(splits.dev)
    tests: dict[str, Sequence[Example]] = {name: cut(examples) for name, examples in splits.tests.items()}
    pairs = {
        "train": (splits.train, train),
        "dev": (splits.dev, dev),
        **{f"test:{name}": (splits.tests[name], tests[name]) for name in tests},
    }
    lost = {name: _num_words(before) - _num_words(after) for name, (before, after) in pairs.items()}
    for name, (before, _) in pairs.items():
        _warn(config, name, lost[name], before, "trained on" if name == "train" else "scored")
    return splits._replace(train=train, dev=dev, tests=tests, unscored=lost)


def truncate_examples(examples: Sequence[Example], config: RunConfig, name: str) -> Sequence[Example]:
    """Return training examples truncated as in `truncate_splits`; without `truncate` they are returned unchanged.

    Args:
        examples: the examples.
        config: a recipe.
        name: their source, for the message.
    """
    if not config.truncate:
        return examples
    cut = _cutter(config)(examples)
    _warn(config, name, _num_words(examples) - _num_words(cut), examples, "trained on")
    return cut


def _warn(config: RunConfig, name: str, lost: int, examples: Sequence[Example], done: str) -> None:
    if lost:
        LOGGER.warning(
            f"truncate = true: {lost:,} of {_num_words(examples):,} words of {name} are beyond "
            f"{config.max_tokens} tokens and are not {done}."
        )


def _cutter(config: RunConfig) -> Callable[[Sequence[Example]], list[Example]]:
    tokenizer = load_tokenizer(
        config.model, revision=config.revision, trust_remote_code=config.trust_remote_code
    )
    encoding = word_encoding(config, tokenizer)
    budget = config.max_tokens - encoding.special_tokens()
    if config.task == "classification":
        return lambda examples: [_cut_text(example, tokenizer, budget) for example in examples]
    # The limit that labeling uses (`LabelingConfig.max_word_tokens`).
    encoder = WordEncoder(tokenizer, encoding, max_word_tokens=min(64, max(1, config.max_tokens // 4)))
    return lambda examples: [_cut_words(example, encoder, budget) for example in examples]


def _cut_words(example: Example, encoder: WordEncoder, budget: int) -> Example:
    """Return an example without the words beyond a budget of `budget` tokens, with spans clipped."""
    ends = accumulate(len(ids) for ids in encoder.encode_words(example.words))
    return keep_words(example, sum(end <= budget for end in ends))


def keep_words(example: Example, count: int) -> Example:
    """Return an example with its first `count` words and the part of each span inside them.

    >>> keep_words(Example(("New", "York", "City")), 2).words
    ('New', 'York')
    """
    if count >= len(example.words):
        return example
    return replace(
        example,
        words=example.words[:count],
        spans=tuple(s._replace(end=min(s.end, count)) for s in example.spans if s.start < count),
        text=None if example.text is None else example.text[: _end(example.offsets, count)],
        offsets=example.offsets[:count],
    )


def _end(offsets: Sequence[tuple[int, int]], count: int) -> int:
    return offsets[count - 1][1] if count else 0


def _cut_text(example: Example, tokenizer: Any, budget: int) -> Example:
    """Return a whole text truncated after the last token that fits, with its labels."""
    text, _, offsets = text_and_offsets(example)
    # Only fast tokenizers report the character offsets of tokens.
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(
            "truncate = true: this tokenizer does not report the offsets of its tokens. Leave truncate out."
        )
    places = tokenizer(text.strip(), add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(places) <= budget:
        return example
    end = len(text) - len(text.lstrip()) + places[budget - 1][1]
    kept = [place for place in offsets if place[0] < end]
    whole = [text[start : min(stop, end)] for start, stop in kept]
    clipped = tuple((start, min(stop, end)) for start, stop in kept)
    return replace(example, text=text[:end], words=tuple(whole), offsets=clipped)


def _num_words(examples: Sequence[Example]) -> int:
    return sum(len(example.words) for example in examples)


def unscored_words(splits: Splits) -> Mapping[str, int]:
    """Return the number of truncated words per scored data set."""
    return {name: number for name, number in splits.unscored.items() if name != "train"}
