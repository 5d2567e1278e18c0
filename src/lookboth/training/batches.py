"""Tokenized training data, and the batches of a whole run, scheduled before it starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lookboth.config import RunConfig, TrainConfig
from lookboth.data import (
    OUTSIDE,
    SEQUENCE_TAGS,
    Encoding,
    Layout,
    WindowSizes,
    WordEncoder,
    build_batch,
    encode_nested,
    encode_spans,
    padding_share,
    parse_tag,
    require_one_label,
    schedule_batches,
    text_of,
    tokenize_texts,
    tokenize_words,
)
from lookboth.errors import ConfigError, DataError
from lookboth.memory import without_collection
from lookboth.training.annotated_labels import open_tag_ids
from lookboth.training.continuation import start_config
from lookboth.training.open_labels import OpenLabels
from lookboth.types import Example, TagId, TokenizedExample


@without_collection()
def tokenize_examples(
    examples: Sequence[Example],
    encoder: WordEncoder,
    *,
    tags: Sequence[str],
    config: RunConfig,
    look_ahead: int | None = None,
) -> list[TokenizedExample]:
    """Return the examples as token ids with one tag id per word (or text); long examples become several windows.

    Args:
        examples: the examples.
        encoder: the encoder of words.
        tags: the tag (label) of each output.
        config: the recipe.
        look_ahead: tokens of context to the right that the state of a word depends on; None: no limit.

    Raises:
        DataError: an example has a label that is not in `tags`, or several labels for a single-label head.
    """
    tag_ids = {tag: index for index, tag in enumerate(tags)}
    open_ids = open_tag_ids(config, len(tags))
    if config.task == "classification":
        learn = _each_tag if config.head.kind == "multi_label" else _only_tag
        return tokenize_texts(
            [text_of(example) for example in examples],
            encoder,
            label_on=config.label_on,
            labels=[learn(example, tag_ids) for example in examples],
            max_tokens=config.max_tokens,
            overlap=config.overlap,
        )
    labels: list[Sequence[TagId]] = [
        _nested_tag_ids(example, tags)
        if config.head.kind == "nested"
        else _tag_ids(example, tag_ids, config.scheme, open_ids)
        for example in examples
    ]
    sizes = WindowSizes(
        max_tokens=config.max_tokens, overlap=config.overlap, context=config.context, look_ahead=look_ahead
    )
    return tokenize_words(examples, encoder, sizes, labels=labels)


@dataclass
class RunBatches:
    """All batches of a run in order, as a map-style dataset: item i is the i-th batch.

    The schedule depends only on lengths and seed, so a resumed run gets the same batches.

    Args:
        pieces: the training data.
        schedule: indices of the pieces of each batch.
        epoch_ends: number of batches up to the end of each epoch (the last epoch may be partial).
        open_labels: the labels of an open head; None for other heads.
    """

    pieces: Sequence[TokenizedExample]
    schedule: Sequence[Sequence[int]]
    epoch_ends: tuple[int, ...]
    layout: Layout
    pad_id: int
    open_labels: OpenLabels | None = field(default=None, kw_only=True)

    @classmethod
    def build(
        cls,
        pieces: Sequence[TokenizedExample],
        *,
        config: RunConfig,
        seed: int,
        pad_id: int,
        open_labels: OpenLabels | None = None,
    ) -> "RunBatches":
        """Schedule `training.epochs` epochs, each with its own shuffle."""
        training = config.training
        lengths = [len(piece) for piece in pieces]
        schedule: list[list[int]] = []
        ends: list[int] = []
        left = training.epochs
        # Fractional epochs add up with rounding errors.
        while left > 1e-9:
            # Distinct for all run seeds and epochs, because no training has 10,007 epochs.
            epoch_seed = seed * 10_007 + len(ends)
            epoch = schedule_batches(
                lengths,
                max_tokens=training.batch_tokens,
                layout=training.layout,
                seed=epoch_seed,
                size=training.batch_sentences,
            )
            schedule += epoch if left >= 1 else epoch[: max(1, round(left * len(epoch)))]
            ends.append(len(schedule))
            left -= 1
        return cls(pieces, schedule, tuple(ends), training.layout, pad_id, open_labels=open_labels)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.schedule)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the tensors of one batch."""
        return self.tensors(self.pieces_of(index))

    def pieces_of(self, index: int) -> list[TokenizedExample]:
        """Return the pieces of one batch."""
        pieces = [self.pieces[i] for i in self.schedule[index]]
        return pieces if self.open_labels is None else self.open_labels.draw(pieces, index)

    def tensors(self, pieces: Sequence[TokenizedExample]) -> dict[str, Any]:
        """Return these pieces as the keyword arguments of the model's `forward`."""
        if self.open_labels is not None:
            return self.open_labels.tensors(pieces, layout=self.layout, pad_id=self.pad_id)
        return build_batch(pieces, layout=self.layout, pad_id=self.pad_id).inputs()

    def piece_lengths(self) -> Sequence[int]:
        """Return the number of tokens of each piece."""
        return [len(piece) for piece in self.pieces]

    def num_tokens(self) -> int:
        """Return the number of tokens of all batches, without padding."""
        lengths = self.piece_lengths()
        return sum(lengths[i] for batch in self.schedule for i in batch)

    def padding(self) -> float:
        """Return the share of padding among all computed positions."""
        if self.layout == "packed":
            return 0.0
        first_epoch = self.schedule[: self.epoch_ends[0]]
        used = self.piece_lengths()
        total = sum(used[i] for batch in first_epoch for i in batch)
        # `padding_share` needs batches that contain all pieces; a partial epoch does not.
        return padding_share(used, first_epoch) if total == sum(used) else 0.0


def num_steps(batches: RunBatches, config: TrainConfig) -> int:
    """Return the number of optimizer steps of a run."""
    return max(1, -(-len(batches) // config.accumulation))


def step_tokens(batches: RunBatches, config: TrainConfig) -> list[int]:
    """Return the number of tokens of each optimizer step, without padding."""
    lengths = batches.piece_lengths()
    tokens = [sum(lengths[i] for i in batch) for batch in batches.schedule]
    size = config.accumulation
    return [sum(tokens[start : start + size]) for start in range(0, len(tokens), size)]


def only_batch(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the single ready-made batch of a list; a collate function for DataLoader."""
    return items[0]


def word_encoding(config: RunConfig, tokenizer: Any) -> Encoding:
    """Return the encoding of words in a recipe: that of the tokenizer with the recipe's changes, or of the labeler
    that is trained further.

    Raises:
        ConfigError: leading_space = false, and this tokenizer adds word boundaries itself, or the labeler that is
            trained further has leading spaces.
    """
    if (start := start_config(config)) is not None:
        if start.encoding.word_prefix and not config.leading_space:
            raise ConfigError(
                "leading_space = false: the labeler to start from has leading spaces. Remove it."
            )
        return replace(start.encoding, splitter=config.data.splitter or start.encoding.splitter)
    found = Encoding.detect(tokenizer)
    if not (config.leading_space or found.word_prefix):
        raise ConfigError(
            f"leading_space = false: the tokenizer of {config.model} marks the start of a word itself, so there is no "
            "space to leave out. Remove leading_space."
        )
    return replace(
        found,
        word_prefix=found.word_prefix if config.leading_space else "",
        repetition=config.repetition,
        prefix_each_copy=config.prefix_each_copy,
        splitter=config.data.splitter or "",
    )


def find_pad_id(tokenizer: Any) -> int:
    """Return a token id for padding; any id works because padding is masked."""
    return next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)


def _tag_ids(
    example: Example, tag_ids: dict[str, int], scheme: str, open_ids: Mapping[tuple[str, ...], int]
) -> list[int]:
    """Return the tag id of each word; `open_ids` has that of words without label by label set."""
    tags = encode_spans(example.spans, len(example.words), scheme)
    outside = open_ids.get(example.label_set)
    if outside is None:
        return _look_up(tags, tag_ids, example)
    return _look_up(tags, {**tag_ids, OUTSIDE: outside}, example)


def _nested_tag_ids(example: Example, tags: Sequence[str]) -> Sequence[tuple[int, ...]]:
    """Return the tag of each word in each sequence of a nested head, -100 for labels that are not annotated."""
    rows = encode_nested(example.spans, len(example.words), tags)
    if not example.label_set:
        return rows
    labels = [parse_tag(tag)[1] for tag in tags[:: len(SEQUENCE_TAGS)]]
    known = [label in example.label_set for label in labels]
    return [tuple(tag if there else -100 for tag, there in zip(row, known, strict=True)) for row in rows]


def _only_tag(example: Example, tag_ids: dict[str, int]) -> int:
    require_one_label(example)
    return _look_up(example.text_labels, tag_ids, example)[0]


def _each_tag(example: Example, tag_ids: dict[str, int]) -> tuple[int, ...]:
    present = _look_up(example.text_labels, tag_ids, example)
    known = example.label_set or tag_ids
    # A multi-label head learns a yes or no per label: a row of 0, 1 and -100 (not annotated), shape (num_tags,).
    return tuple(int(index in present) if tag in known else -100 for tag, index in tag_ids.items())


def _look_up(tags: Sequence[str], tag_ids: dict[str, int], example: Example) -> list[int]:
    try:
        return [tag_ids[tag] for tag in tags]
    except KeyError as error:
        raise DataError(
            f"{example.source or 'example'}: tag {error.args[0]!r} is none of the labeler's tags "
            f"({', '.join(tag_ids)}). Add the label to the training data, or rename it with data.label_map."
        ) from error
