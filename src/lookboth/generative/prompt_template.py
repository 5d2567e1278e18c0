"""The fixed text around instruction, questions and answers: a chat template, or plain text."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from lookboth.config import GenerativeConfig
from lookboth.data import Encoding
from lookboth.errors import ConfigError

# Placeholder for a message while a chat template is analyzed: a private-use character, which no template contains.
_MARK = "\ue000{}\ue000"


class PromptTemplate(NamedTuple):
    """The fixed text of a prompt: start, instruction, body, then per text: question, reply, answer, next.

    Args:
        start: text before the instruction; body: text after it; reply: text from question to answer.
        next: text from an answer to the next question; its first token ends an answer.
    """

    start: str
    body: str
    reply: str
    next: str


def find_template(tokenizer: Any, config: GenerativeConfig, *, has_instruction: bool) -> PromptTemplate:
    """Return the prompt template of a recipe for this tokenizer.

    Raises:
        ConfigError: a chat template is required and missing, or its turns differ from each other.
    """
    chat_template = getattr(tokenizer, "chat_template", None)
    if config.chat is False or (config.chat is None and not chat_template):
        return PromptTemplate("", "\n\n" if has_instruction else "", f"\n{config.reply}\n", "\n\n")
    if not chat_template:
        raise ConfigError("generative.chat = true: this tokenizer has no chat template. Leave the key out.")
    template = _chat_template(tokenizer, has_instruction)
    if template is None:
        raise ConfigError(
            "the chat template of this tokenizer formats turns differently from each other, so prompts cannot be "
            "built from it. Set generative.chat = false."
        )
    return template


def first_tokens(tokenizer: Any, template: PromptTemplate) -> tuple[int, ...]:
    """Return the special tokens at the start of a prompt, unless its text already begins with one."""
    ids = TextEncoder(tokenizer).encode(template.start, special=True)
    prefix = Encoding.detect(tokenizer).prefix_ids
    begins = bool(ids) and (ids[0] in tokenizer.all_special_ids)
    return () if begins else prefix


class TextEncoder:
    """Tokenizes parts of a prompt, each on its own.

    Args:
        tokenizer: any Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        # SentencePiece marks the word boundary that it adds in front of a text with this character.
        bracket = tokenizer.convert_ids_to_tokens(self._ids("]", False))
        self._adds_space = bracket[0].startswith("▁")
        self._cached = lru_cache(maxsize=100_000)(self._encode)

    def encode(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        """Return the tokens of `text` inside a prompt.

        Args:
            text: a part of a prompt.
            special: whether names of special tokens become those tokens; must be False for user text.
        """
        return self._cached(text, special)

    def _encode(self, text: str, special: bool) -> tuple[int, ...]:
        if not text:
            return ()
        # SentencePiece adds a word boundary at the start of a text, so encode after a line end and remove that.
        if self._adds_space:
            line, both = self._ids("\n", special), self._ids("\n" + text, special)
            if both[: len(line)] == line:
                return tuple(both[len(line) :])
        return tuple(self._ids(text, special))

    def _ids(self, text: str, special: bool) -> list[int]:
        encoded = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=not special, verbose=False
        )
        return list(encoded["input_ids"])


def _chat_template(tokenizer: Any, has_instruction: bool) -> PromptTemplate | None:
    instruction, contents = _MARK.format("i"), [_MARK.format(number) for number in range(5)]
    # Two full rounds show whether later turns are formatted like the first.
    roles = ("user", "assistant") * 3
    messages = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    text = _render(tokenizer, messages)
    if has_instruction:
        text = _with_instruction(tokenizer, messages, instruction) or ""
    between = _split(text, [instruction, *contents] if has_instruction else contents)
    if between is None:
        return None
    start, *rest = between
    body, *rest = rest if has_instruction else ["", *rest]
    reply, after, second_reply, second_after, _ = rest
    if (reply, after) != (second_reply, second_after):
        return None
    # The token that ends an answer must not depend on a space before it.
    return PromptTemplate(start, body, reply, after.lstrip(" ") or after)


def _with_instruction(tokenizer: Any, messages: list[dict[str, str]], instruction: str) -> str | None:
    """Return the conversation with a system message, or with the instruction in front of the first text."""
    text = _render(tokenizer, [{"role": "system", "content": instruction}, *messages])
    if text is None or instruction not in text:
        first = {"role": "user", "content": f"{instruction}\n\n{messages[0]['content']}"}
        text = _render(tokenizer, [first, *messages[1:]])
    return text


def _render(tokenizer: Any, messages: list[dict[str, str]]) -> str | None:
    from jinja2.exceptions import TemplateError

    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False))
    except TemplateError:
        return None


def _split(text: str | None, marks: Sequence[str]) -> list[str] | None:
    """Return the parts before, between and after the marks; None unless each mark occurs once, in order."""
    parts, rest = [], text or ""
    for mark in marks:
        before, found, rest = rest.partition(mark)
        if not found or mark in rest:
            return None
        parts.append(before)
    return [*parts, rest]
