"""Prompts as tokens: instruction, demonstrations and query, with the borders of every part known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lookboth.config import GenerativeConfig
from lookboth.errors import ConfigError
from lookboth.generative.codecs import Codec
from lookboth.generative.escaping import readable
from lookboth.generative.turns import TextEncoder, find_turns, first_tokens
from lookboth.types import Example

MAX_TOKENS = 2048


class Block(NamedTuple):
    """One text with its answer, as tokens.

    Args:
        question: the text and what leads from it to the answer.
        answer: without the token that ends it.
    """

    question: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is given, and for what.

    Args:
        words: of the text, as the answer is to copy them.
        prefix_ids: instruction and demonstrations; the same for all prompts with the same demonstrations.
        query_ids: the text and what leads to its answer.
        max_answer_tokens: tokens the answer may have, the one that ends it included.
        dropped: how many demonstrations were left out for want of room.
    """

    words: tuple[str, ...]
    prefix_ids: tuple[int, ...]
    query_ids: tuple[int, ...]
    max_answer_tokens: int
    dropped: int = 0

    @property
    def input_ids(self) -> tuple[int, ...]:
        """All tokens of the prompt."""
        return self.prefix_ids + self.query_ids


class Lesson(NamedTuple):
    """A prompt with its answer, to learn from.

    Args:
        input_ids: shape (t,).
        predicting: positions whose next token is learned, ascending.
    """

    input_ids: tuple[int, ...]
    predicting: tuple[int, ...]


class PromptWriter:
    """Writes prompts for one tokenizer, answer format and template. Every part is tokenized alone.

    Args:
        tokenizer: any Hugging Face tokenizer.
        codec: the answer format with its labels.
        config: the section [generative] of a recipe.

    Attributes:
        head_ids: what a prompt begins with, the instruction included.
        reply_ids: from question to answer; next_ids: from an answer to the next question.
        stop_ids: tokens at which an answer is over: its end, the end of the text, and line ends.

    Raises:
        ConfigError: a description of a label that there is not, or a chat template that cannot be used.
    """

    def __init__(self, tokenizer: Any, codec: Codec, config: GenerativeConfig) -> None:
        self.tokenizer, self.codec, self.config = tokenizer, codec, config
        self.encoder = TextEncoder(tokenizer)
        self.max_tokens = config.max_tokens or MAX_TOKENS
        instruction = write_instruction(codec, config)
        turns = find_turns(tokenizer, config, has_instruction=bool(instruction))
        self.head_ids = (
            *first_tokens(tokenizer, turns),
            *self.encoder.encode(turns.start, special=True),
            *self.encoder.encode(instruction),
            *self.encoder.encode(turns.body, special=True),
        )
        self.reply_ids = self.encoder.encode(turns.reply, special=True)
        self.next_ids = self.encoder.encode(turns.next, special=True)
        self.stop_ids = frozenset({self.end_id, *_ids_of_line_ends(tokenizer)} | _end_of_text(tokenizer))
        self._blocks: dict[Example, Block] = {}

    @property
    def end_id(self) -> int:
        """The token that ends an answer."""
        return self.next_ids[0]

    def question_ids(self, words: Sequence[str]) -> tuple[int, ...]:
        """Return the tokens of a text and of what leads to its answer."""
        text = self.codec.show_words([readable(word) for word in words])
        return self.encoder.encode(self.config.question.replace("{text}", text)) + self.reply_ids

    def answer_ids(self, example: Example) -> tuple[int, ...]:
        """Return the tokens of the right answer, each piece tokenized alone, without the end."""
        pieces = self.codec.pieces([readable(word) for word in example.words], example.spans)
        return tuple(token for piece in pieces for token in self.encoder.encode(piece))

    def block(self, example: Example) -> Block:
        """Return a labeled example as tokens."""
        if example not in self._blocks:
            self._blocks[example] = Block(self.question_ids(example.words), self.answer_ids(example))
        return self._blocks[example]

    def prompt(self, words: Sequence[str], demonstrations: Sequence[Example] = ()) -> Prompt:
        """Return the prompt for a text.

        Where it is too long with its answer, demonstrations are left out, the first ones first.

        Raises:
            ConfigError: it is too long even without demonstrations.
        """
        query = self.question_ids(words)
        room = self.max_tokens - len(self.head_ids) - len(query)
        answer = self.config.max_answer_tokens or min(32 + 4 * len(query), max(room, len(query)))
        what = f"{' '.join(words)[:60]!r}"
        blocks = [self.block(example) for example in demonstrations]
        shown = self._that_fit(blocks, len(query) + answer, what)
        return Prompt(
            tuple(readable(word) for word in words),
            self._prefix(shown),
            query,
            answer,
            len(blocks) - len(shown),
        )

    def lesson(self, example: Example, demonstrations: Sequence[Example], loss: str) -> Lesson:
        """Return a prompt with its answer.

        Args:
            example: the query.
            demonstrations: left out, the first ones first, where there is no room for them.
            loss: which tokens are learned: "vanilla": all; "single": those of the last answer; "multi": those of
                every answer (Dukić et al. 2025, arXiv 2509.00921). The end of an answer belongs to it.

        Raises:
            ConfigError: too long even without demonstrations.
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
            learned += [loss == "multi" or is_last] * (len(block.answer) + 1)
            learned += [False] * (len(ids) - len(learned))
        positions = [p for p in range(len(ids) - 1) if loss == "vanilla" or learned[p + 1]]
        return Lesson(tuple(ids), tuple(positions))

    def _prefix(self, blocks: Sequence[Block]) -> tuple[int, ...]:
        ids = list(self.head_ids)
        for block in blocks:
            ids += block.question + block.answer + self.next_ids
        return tuple(ids)

    def _that_fit(self, blocks: Sequence[Block], needed: int, what: str) -> Sequence[Block]:
        room = self.max_tokens - len(self.head_ids) - needed
        if room < 0:
            raise ConfigError(
                f"{what}: instruction, text and answer need {self.max_tokens - room} tokens, more than "
                f"generative.max_tokens = {self.max_tokens}. Raise it, or lower max_tokens, at which texts "
                "are cut."
            )
        first = len(blocks)
        while first and (size := sum(map(len, blocks[first - 1])) + len(self.next_ids)) <= room:
            room -= size
            first -= 1
        return blocks[first:]


def _ids_of_line_ends(tokenizer: Any) -> list[int]:
    """Return the tokens with a line end in them, which no answer holds."""
    return [
        i for token, i in tokenizer.get_vocab().items() if "Ċ" in token or "\n" in token or token == "<0x0A>"
    ]


def _end_of_text(tokenizer: Any) -> set[int]:
    return set() if tokenizer.eos_token_id is None else {tokenizer.eos_token_id}


def write_instruction(codec: Codec, config: GenerativeConfig) -> str:
    """Return the instruction of a prompt, "" where there is none.

    Raises:
        ConfigError: a description of a label that there is not.
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
