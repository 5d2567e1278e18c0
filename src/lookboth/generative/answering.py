"""From prompts to scored spans, with free or constrained decoding."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import torch

from lookboth.generative.answer_automata import build_automaton
from lookboth.generative.constrained_decoding import Answer, ScoredSpan, decode_constrained
from lookboth.generative.free_decoding import FreeAnswer, write_freely
from lookboth.generative.key_values import Prefix, encode_prefix
from lookboth.generative.prompt_plan import encode_prompts
from lookboth.generative.prompts import Prompt, PromptWriter
from lookboth.generative.token_grammar import Grammar
from lookboth.masking import MaskPlan, under_plan
from lookboth.memory import LARGE_BATCH
from lookboth.models import LanguageModel, compute_in


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """A parsed answer.

    Args:
        spans: scored spans over the words of the prompt, in order.
        problems: kind of each problem (see `AnswerProblem`); empty with constrained decoding.
        text: the answer text.
    """

    spans: tuple[ScoredSpan, ...]
    problems: tuple[str, ...]
    text: str


class Answerer:
    """Answers prompts with the decoding method of the recipe.

    Args:
        language: the language model.
        writer: writer of the prompts.
        keeps_prefix: whether to keep the keys and values of the last shared prefix between calls; valid only
            while the weights do not change.
    """

    def __init__(self, language: LanguageModel, writer: PromptWriter, *, keeps_prefix: bool = False) -> None:
        self.language, self.writer, self.keeps_prefix = language, writer, keeps_prefix
        self._prefix: Prefix | None = None
        text, num_layers = (
            writer.config.prompt_plan,
            language.model.config.get_text_config().num_hidden_layers,
        )
        self.prompt_plan = None if text is None else MaskPlan.parse(text, num_layers)

    def answer(self, prompts: Sequence[Prompt], *, batch_tokens: int = LARGE_BATCH) -> list[ScoredAnswer]:
        """Return the parsed answer of the model to each prompt.

        Args:
            prompts: prompts of any length.
            batch_tokens: token budget for the prompts of a batch, in free decoding.
        """
        # Free decoding also runs on models whose cache cannot be split and joined.
        if self.writer.config.decoding == "free":
            answers = write_freely(self.language, self.writer, prompts, batch_tokens=batch_tokens)
            return [self._read(*pair) for pair in zip(prompts, answers, strict=True)]
        was_training = self.language.training
        self.language.eval()
        with torch.inference_mode(), compute_in(self.language.compute_dtype, self.language.model):
            scored_answers = self._constrained(prompts)
        self.language.train(was_training)
        return scored_answers

    def _read(self, prompt: Prompt, answer: FreeAnswer) -> ScoredAnswer:
        parsed = self.writer.codec.parse(answer.text, prompt.words)
        problems = [problem.kind for problem in parsed.problems]
        placed = zip(parsed.spans, parsed.places, strict=True)
        spans = tuple(ScoredSpan(span, exp(answer.log_prob(*place))) for span, place in placed)
        return ScoredAnswer(spans, (*problems, *(() if answer.finished else ("unfinished",))), answer.text)

    def _constrained(self, prompts: Sequence[Prompt]) -> list[ScoredAnswer]:
        scored_answers: dict[int, ScoredAnswer] = {}
        if self.prompt_plan is not None:
            return self._under_prompt_plan(prompts, self.prompt_plan)
        for group in _by_prefix(prompts):
            chosen = [prompts[i] for i in group]
            # Without one shared prefix, `decode_constrained` finds the common part itself.
            shared = chosen[0].prefix_ids if len({p.prefix_ids for p in chosen}) == 1 else None
            answers = decode_constrained(
                self.language.model,
                [prompt.input_ids for prompt in chosen],
                [self._grammar(prompt) for prompt in chosen],
                num_beams=self.writer.config.num_beams,
                prefix=None if shared is None else self._encoded(shared),
            )
            scored_answers |= dict(zip(group, map(_scored_answer, answers), strict=True))
        return [scored_answers[index] for index in range(len(prompts))]

    def _under_prompt_plan(self, prompts: Sequence[Prompt], plan: MaskPlan) -> list[ScoredAnswer]:
        model = self.language.model
        scored_answers: dict[int, ScoredAnswer] = {}
        ids = [prompt.input_ids for prompt in prompts]
        for indices, pasts in encode_prompts(model, plan, ids):
            # The prompt is encoded under its plan; the answer itself is causal.
            with under_plan(model, MaskPlan((0,) * plan.num_layers)):
                answers = decode_constrained(
                    model,
                    [ids[i] for i in indices],
                    [self._grammar(prompts[i]) for i in indices],
                    num_beams=self.writer.config.num_beams,
                    pasts=pasts,
                )
            scored_answers |= dict(zip(indices, map(_scored_answer, answers), strict=True))
        return [scored_answers[index] for index in range(len(prompts))]

    def _grammar(self, prompt: Prompt) -> Grammar:
        writer = self.writer
        return Grammar(build_automaton(writer.codec, prompt.words), writer.encoder.encode, (writer.end_id,))

    def _encoded(self, ids: tuple[int, ...]) -> Prefix:
        # In training the weights change between calls, so keys and values of an earlier call are outdated.
        if self._prefix is None or not self.keeps_prefix or self._prefix.ids != ids:
            self._prefix = encode_prefix(self.language.model, ids)
        return self._prefix


def _scored_answer(answer: Answer) -> ScoredAnswer:
    return ScoredAnswer(tuple(sorted(answer.spans)), (), answer.text)


def _by_prefix(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Group prompts by prefix; one group of all if most prompts have their own."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(prompt.prefix_ids, []).append(index)
    # Small groups would run in many small batches, which costs more than encoding a prefix several times.
    return list(groups.values()) if 4 * len(groups) <= len(prompts) + 3 else [list(range(len(prompts)))]
