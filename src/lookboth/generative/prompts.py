"""Tokenized prompts: instruction, demonstrations and query, with known boundaries between the parts."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

from lookboth.config import GenerativeConfig
from lookboth.errors import ConfigError
from lookboth.generative.codecs import Codec
from lookboth.generative.escaping import readable
from lookboth.generative.prompt_template import TextEncoder, find_template, first_tokens
from lookboth.types import Example

MAX_TOKENS = 2048  # default limit of a prompt with its answer


class Block(NamedTuple):
    """One text with its answer, as tokens.

    Args:
        question: the text and the transition to the answer.
        answer: the answer without its end token.
    """

    question: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A tokenized prompt with the limits of its answer.

    Args:
        words: words of the text, in the form that the answer must copy.
        prefix_ids: instruction and demonstrations; identical for all prompts with the same demonstrations.
        query_ids: the text and the transition to its answer.
        max_answer_tokens: maximum length of the answer, including its end token.
        dropped: number of demonstrations that did not fit.
    """

    words: tuple[str, ...]
    prefix_ids: tuple[int, ...]
    query_ids: tuple[int, ...]
    max_answer_tokens: int
    dropped: int = 0

    @property
    def input_ids(self) -> tuple[int, ...]:
        """Return all tokens of the prompt."""
        return self.prefix_ids + self.query_ids


class TrainingExample(NamedTuple):
    """A training example: a prompt with its answer.

    Args:
        input_ids: token ids, shape (t,).
        predicting: positions whose next token is trained, ascending.
    """

    input_ids: tuple[int, ...]
    predicting: tuple[int, ...]


class PromptWriter:
    """Writes prompts for a tokenizer, answer format and template; every part is tokenized alone.

    Args:
        tokenizer: any Hugging Face tokenizer.
        codec: answer format with its labels.
        config: the section [generative] of a recipe.

    Attributes:
        head_ids: start of every prompt, including the instruction.
        reply_ids: tokens from question to answer; next_ids: tokens from an answer to the next question.
        stop_ids: tokens that end an answer: its end token, the end of text, and line ends.

    Raises:
        ConfigError: a description of an unknown label, or a chat template that cannot be used.
    """

    def __init__(self, tokenizer: Any, codec: Codec, config: GenerativeConfig) -> None:
        self.tokenizer = tokenizer
        self.encoder = TextEncoder(tokenizer)
        self.max_tokens = config.max_tokens or MAX_TOKENS
        self._template = find_template(tokenizer, config, has_instruction=bool(config.instruction))
        self._first_ids = first_tokens(tokenizer, self._template)
        self.reply_ids = self.encoder.encode(self._template.reply, special=True)
        self.next_ids = self.encoder.encode(self._template.next, special=True)
        # Answers are one line, so a line end also means that the answer is over.
        self.stop_ids = frozenset({self.end_id, *_ids_of_line_ends(tokenizer)} | _end_of_text(tokenizer))
        self._name_labels(codec, config)

    def for_labels(self, codec: Codec, descriptions: Mapping[str, str]) -> "PromptWriter":
        """Return a writer for other labels, which shares the tokenizer and the template.

        Args:
            codec: answer format with the labels.
            descriptions: descriptions by label, for the instruction.

        Raises:
            ConfigError: a description of a label that the codec does not have.
        """
        writer = copy(self)
        writer._name_labels(codec, self.config.model_copy(update={"descriptions": dict(descriptions)}))
        return writer

    def _name_labels(self, codec: Codec, config: GenerativeConfig) -> None:
        self.codec, self.config = codec, config
        self.head_ids = (
            *self._first_ids,
            *self.encoder.encode(self._template.start, special=True),
            *self.encoder.encode(write_instruction(codec, config)),
            *self.encoder.encode(self._template.body, special=True),
        )
        # The same sentence is a demonstration in many prompts.
        self._blocks: dict[Example, Block] = {}

    @property
    def end_id(self) -> int:
        """Return the token that ends an answer."""
        return self.next_ids[0]

    def question_ids(self, words: Sequence[str]) -> tuple[int, ...]:
        """Return the tokens of a text and of the transition to its answer."""
        text = self.codec.show_words([readable(word) for word in words])
        return self.encoder.encode(self.config.question.replace("{text}", text)) + self.reply_ids

    def answer_ids(self, example: Example) -> tuple[int, ...]:
        """Return the tokens of the gold answer without its end; each piece is tokenized alone."""
        pieces = self.codec.pieces([readable(word) for word in example.words], example.spans)
        return tuple(token for piece in pieces for token in self.encoder.encode(piece))

    def block(self, example: Example) -> Block:
        """Return a labeled example as tokens."""
        if example not in self._blocks:
            self._blocks[example] = Block(self.question_ids(example.words), self.answer_ids(example))
        return self._blocks[example]

    def prompt(self, words: Sequence[str], demonstrations: Sequence[Example] = ()) -> Prompt:
        """Return the prompt for a text.

        If prompt and answer exceed the limit, demonstrations are dropped, first ones first.

        Raises:
            ConfigError: the prompt is too long even without demonstrations.
        """
        query = self.question_ids(words)
        budget = self.max_tokens - len(self.head_ids) - len(query)
        answer = self.config.max_answer_tokens or min(32 + 4 * len(query), max(budget, len(query)))
        query_name = f"{' '.join(words)[:60]!r}"
        blocks = [self.block(example) for example in demonstrations]
        shown = self._that_fit(blocks, len(query) + answer, query_name)
        return Prompt(
            tuple(readable(word) for word in words),
            self._prefix(shown),
            query,
            answer,
            len(blocks) - len(shown),
        )

    def training_example(
        self, example: Example, demonstrations: Sequence[Example], loss: str
    ) -> TrainingExample:
        """Return a training example.

        Args:
            example: the query.
            demonstrations: dropped, first ones first, if they do not fit.
            loss: tokens to train on: "vanilla": all; "single": those of the last answer; "multi": those of
                every answer (Dukić et al. 2025, arXiv 2509.00921). The end token of an answer belongs to it.

        Raises:
            ConfigError: the example is too long even without demonstrations.
        """
        last = self.block(example)
        needed = len(last.question) + len(last.answer) + 1
        shown = self._that_fit(
            [self.block(e) for e in demonstrations], needed, example.source or "an example"
        )
        ids, learned = list(self.head_ids), [False] * len(self.head_ids)
        for number, block in enumerate([*shown, last]):
            is_last = number == len(shown)
            ids += block.question + block.answer + (self.next_ids[:1] if is_last else self.next_ids)
            learned += [False] * len(block.question)
            # The end token belongs to the answer: the model must learn to stop.
            learned += [loss == "multi" or is_last] * (len(block.answer) + 1)
            learned += [False] * (len(ids) - len(learned))
        positions = [p for p in range(len(ids) - 1) if loss == "vanilla" or learned[p + 1]]
        return TrainingExample(tuple(ids), tuple(positions))

    def _prefix(self, blocks: Sequence[Block]) -> tuple[int, ...]:
        ids = list(self.head_ids)
        for block in blocks:
            ids += block.question + block.answer + self.next_ids
        return tuple(ids)

    def _that_fit(self, blocks: Sequence[Block], needed: int, query_name: str) -> Sequence[Block]:
        budget = self.max_tokens - len(self.head_ids) - needed
        if budget < 0:
            raise ConfigError(
                f"{query_name}: instruction, text and answer need {self.max_tokens - budget} tokens, more than "
                f"generative.max_tokens = {self.max_tokens}. Raise it, or lower max_tokens, at which texts "
                "are cut."
            )
        # The most similar demonstration comes last, so drop from the front.
        first = len(blocks)
        while first and (size := sum(map(len, blocks[first - 1])) + len(self.next_ids)) <= budget:
            budget -= size
            first -= 1
        return blocks[first:]


def _ids_of_line_ends(tokenizer: Any) -> list[int]:
    """Return the tokens that contain a line end, which is never part of an answer."""
    return [
        i for token, i in tokenizer.get_vocab().items() if "Ċ" in token or "\n" in token or token == "<0x0A>"
    ]


def _end_of_text(tokenizer: Any) -> set[int]:
    return set() if tokenizer.eos_token_id is None else {tokenizer.eos_token_id}


def write_instruction(codec: Codec, config: GenerativeConfig) -> str:
    """Return the instruction of a prompt; "" if it is disabled.

    Raises:
        ConfigError: a description of an unknown label.
    """
    unknown = sorted(set(config.descriptions) - set(codec.labels))
    if unknown:
        raise ConfigError(
            f"generative.descriptions: no label {', '.join(map(repr, unknown))}; the labels of the data are "
            f"{', '.join(codec.labels)}."
        )
    if not config.instruction:
        return ""
    text = INSTRUCTION if config.instruction is True else config.instruction
    lines = [
        f"- {label}: {config.descriptions[label]}" if label in config.descriptions else f"- {label}"
        for label in codec.labels
    ]
    return text.replace("{labels}", "\n".join(lines)).replace("{format}", codec.explanation)


INSTRUCTION = "Find every span of these types in the text:\n{labels}\n{format}"
