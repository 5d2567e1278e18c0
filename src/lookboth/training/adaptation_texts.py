"""The raw text of a recipe: reading it, holding out a part and scheduling batches."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, NamedTuple

from lookboth.config import AdaptationConfig, RunConfig, TrainConfig
from lookboth.data import (
    WordEncoder,
    example_of_words,
    join_words,
    read_raw_text,
    read_source,
    source_path,
    split_name,
    text_of,
    whole_split,
    window_example,
)
from lookboth.errors import ConfigError, DataError
from lookboth.training.batches import RunBatches, find_pad_id, word_encoding
from lookboth.training.objectives import Objective, find_mask_token
from lookboth.training.splits import read_options, sample
from lookboth.types import Example, TokenizedExample

HELD_OUT_SHARE = 0.05


class HeldOut(NamedTuple):
    """How many texts are held out.

    Args:
        least: with fewer, the best epoch is not chosen: their score depends more on the texts than on the weights.
        most: more are not needed.
    """

    least: int
    most: int


# A loss is a mean over tokens, and the same tokens are masked in every evaluation; scoring 100 texts takes little time.
OF_LOSS = HeldOut(20, 100)


@dataclass
class TextBatches(RunBatches):
    """Batches of raw text; the masked tokens depend only on the seed and the number of the batch.

    Args:
        objective: chooses the tokens to mask and to predict.
        seed: seed of the masking.
    """

    objective: Objective
    seed: int

    def pieces_of(self, index: int) -> list[TokenizedExample]:
        """Return the pieces of one batch with some of their tokens masked."""
        # Seeded by batch, so that a resumed training masks the same tokens.
        rng = random.Random(f"{self.seed} {index}")
        return [self.objective.set_targets(self.pieces[i], rng) for i in self.schedule[index]]

    def tensors(self, pieces: Sequence[TokenizedExample]) -> dict[str, Any]:
        """Return these pieces as the keyword arguments of `LanguageModel.forward`."""
        tensors = super().tensors(pieces)
        tensors["positions"] = tensors.pop("word_first")
        del tensors["word_last"], tensors["num_words"]
        return tensors


def text_section(config: RunConfig) -> AdaptationConfig:
    """Return the section [adaptation] of a recipe.

    Raises:
        ConfigError: the recipe has none.
    """
    if config.adaptation is None:
        raise ConfigError(
            "the recipe has no section [adaptation]. Type for example: --set adaptation.objective=mntp"
        )
    return config.adaptation


def read_texts(config: RunConfig) -> list[Example]:
    """Return the texts for adaptation; texts of the recipe's dev and test data are refused.

    Raises:
        ConfigError: adaptation.text names dev or test data of the recipe, or there is no text.
        DataError: there are fewer than two texts.
    """
    data, options, wanted = config.data, read_options(config), text_section(config).text
    if not wanted and not data.train:
        raise ConfigError("adaptation.text: the recipe has no train sentences to adapt to. Name text.")
    if wanted:
        refuse_evaluated(config, wanted, "adaptation.text")
        raw = [text for source in wanted for text in read_raw_text(source, options=options)]
        texts = [example_of_words(text, options.splitter or "") for text in raw]
    else:
        read = [read_source(source, "train", options).examples for source in data.train]
        texts = sample(
            [example for part in read for example in part], data.max_train_sentences, data.sample_seed
        )
    texts = [example for example in texts if example.words]
    if len(texts) < 2:
        raise DataError(
            f"{', '.join(wanted or data.train)}: {len(texts)} texts; adaptation needs two or more."
        )
    return texts


def hold_out(texts: Sequence[Example], number: HeldOut = OF_LOSS) -> tuple[list[Example], list[Example]]:
    """Return (training texts, held-out texts): 5 % are held out, within the bounds of `number`.

    At most a quarter of the texts is held out, but at least one.
    """
    shuffled = list(texts)
    # A fixed seed: all runs on these texts hold out the same ones and stay comparable.
    random.Random(0).shuffle(shuffled)
    wanted = min(number.most, max(number.least, round(HELD_OUT_SHARE * len(texts))))
    num_held_out = max(1, min(wanted, len(texts) // 4))
    return shuffled[num_held_out:], shuffled[:num_held_out]


def schedule_texts(
    texts: Sequence[Example], config: RunConfig, tokenizer: Any, *, vocab_size: int, seed: int
) -> TextBatches:
    """Return batches for `adaptation.epochs` epochs, tokenized as in labeling.

    Args:
        texts: only their words and text are used; long texts are split without overlap, or all texts are joined
            and cut into blocks.
        config: a recipe with the section [adaptation].
        tokenizer: tokenizer of the backbone.
        vocab_size: number of rows of its embeddings.
        seed: seed of order and masking.
    """
    section = text_section(config)
    # Every text occurs once: only labeling repeats it.
    encoding = replace(word_encoding(config, tokenizer), repetition=0)
    encoder = WordEncoder(tokenizer, encoding, max_word_tokens=min(64, max(1, config.max_tokens // 4)))
    objective = Objective(
        section.objective,
        encoder.encoding,
        mask_share=section.mask_share,
        mask_id=find_mask_token(tokenizer, section.mask_token),
        vocab_size=min(vocab_size, len(tokenizer)),
        masking=section.masking,
        in_blocks=section.blocks is not None,
    )
    pieces = _tokenize(texts, encoder, config)
    batches = _schedule(pieces, config, seed=seed, pad_id=find_pad_id(tokenizer))
    return TextBatches(**vars(batches), objective=objective, seed=seed)


def adaptation_training(config: RunConfig) -> TrainConfig:
    """Return the training section of a recipe with the settings of its adaptation."""
    section = text_section(config)
    own = {
        "epochs": section.epochs,
        "lr": section.lr,
        "batch_tokens": section.batch_tokens,
        "batch_sentences": None,
        # Keep the ratio of the final to the peak learning rate.
        "lr_end": section.lr * config.training.lr_end / config.training.lr,
        "head_lr": None,
    }
    # Without evaluations before the end, the last weights are the best ones.
    own["evals_per_epoch"] = 1 if section.keep == "best" else 0
    return config.training.model_copy(update={**own, "patience": None})


def _schedule(pieces: Sequence[TokenizedExample], config: RunConfig, *, seed: int, pad_id: int) -> RunBatches:
    """Schedule `adaptation.epochs` epochs, or the batches of `adaptation.steps` steps."""
    training, steps = adaptation_training(config), text_section(config).steps

    def schedule(epochs: float) -> RunBatches:
        changed = config.model_copy(update={"training": training.model_copy(update={"epochs": epochs})})
        return RunBatches.build(pieces, config=changed, seed=seed, pad_id=pad_id)

    if steps is None:
        return schedule(training.epochs)
    wanted = steps * training.accumulation
    # Two epochs more than computed: the number of packed rows varies between epochs.
    batches = schedule(wanted // len(schedule(1)) + 2)
    ends = (*(end for end in batches.epoch_ends if end < wanted), wanted)
    return replace(batches, schedule=batches.schedule[:wanted], epoch_ends=ends)


def _tokenize(texts: Sequence[Example], encoder: WordEncoder, config: RunConfig) -> list[TokenizedExample]:
    ids: Iterator[list[tuple[int, ...]]]
    if config.task == "classification":
        ids = ([(token,) for token in text] for text in encoder.encode_texts([text_of(e) for e in texts]))
    else:
        words = iter(encoder.encode_words(word for example in texts for word in example.words))
        ids = (list(islice(words, len(example.words))) for example in texts)
    if (size := text_section(config).blocks) is not None:
        return cut_blocks((join_words(units, encoder.encoding).input_ids for units in ids), size)
    return [
        piece
        for index, units in enumerate(ids)
        for piece in window_example(
            units, encoder.encoding, example=index, max_tokens=config.max_tokens, overlap=0
        )
    ]


def cut_blocks(texts: Iterable[Sequence[int]], size: int) -> list[TokenizedExample]:
    """Return the tokens of all texts, in order, as blocks of `size` tokens.

    The tokens after the last block are dropped; a single shorter block is kept.

    >>> [block.input_ids for block in cut_blocks([(1, 5, 6), (1, 7, 8)], 4)]
    [(1, 5, 6, 1)]
    """
    tokens = tuple(chain.from_iterable(texts))
    last = max(1, len(tokens) // size) * size
    return [TokenizedExample(tokens[start : start + size], ()) for start in range(0, last, size)]


def refuse_evaluated(config: RunConfig, texts: Sequence[str], key: str) -> None:
    """Refuse text that the recipe uses for model selection or scoring; a part of a split counts as the whole.

    Args:
        config: a recipe.
        texts: the sources of the text.
        key: recipe key of `texts`.

    Raises:
        ConfigError: a source is dev or test data of the recipe.
    """
    data = config.data
    first = [split_name(source)[0] for source in data.train[:1]]
    dev = data.dev or [f"{name}:dev" for name in first]
    test = [f"{name}:test" for name in first] if data.test is None else data.test
    evaluated = {_place(source, "dev") for source in dev} | {_place(source, "test") for source in test}
    for source in texts:
        # Training on evaluation texts would inflate scores, even without their labels.
        if _place(source, "train") in evaluated and source not in data.train:
            raise ConfigError(
                f"{key} = {source!r}: this is dev or test data of the recipe. Name other text"
                f"{'; without adaptation.text the train sentences are used' if key == 'adaptation.text' else ''}."
            )


def _place(source: str, split: str) -> tuple[str, str]:
    """Return the identity of a source: (name, split), or (path, "") for a file."""
    name, split = split_name(source, split)
    path = source_path(name)
    return (str(path.resolve()), "") if path.is_file() else (name, whole_split(split))
