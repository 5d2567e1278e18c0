"""Constrained decoding gives what token by token decoding gives, whatever else is in the batch."""

import math
import random

import pytest
import torch
from tiny import CORPUS, tiny_config, tiny_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from lookboth.errors import ModelError
from lookboth.generative import drafts
from lookboth.generative.answer_automata import build_automaton
from lookboth.generative.codecs.codec_registry import CODECS, build_codec
from lookboth.generative.constrained_decoding import decode_constrained
from lookboth.generative.drafts import Budget
from lookboth.generative.key_values import common_prefix, encode_prefix
from lookboth.generative.token_grammar import Grammar
from lookboth.masking.attention import apply_plan

TOKENIZER = tiny_tokenizer("byte-bos")
END_ID = TOKENIZER.eos_token_id
LABELS = ("LOC", "person", "product", "LOCATION")


def encode(text):
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def tiny_causal_lm(family, seed=0, **changes):
    config = tiny_config(family, len(TOKENIZER))
    for key, value in changes.items():
        setattr(config, key, value)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)  # as it comes, a random model hardly reacts to its input
    return model


def other_causal_lm(family):
    """Return a tiny model with something of its own: a window, scaled or capped logits, a bias, no positions."""
    own = {
        "mistral": {"sliding_window": 24},
        "cohere": {"logit_scale": 0.25},
        "gemma2": {"sliding_window": 24, "final_logit_softcapping": 1.0, "head_dim": 8},
        "phi": {},
        "mpt": {},
    }[family]
    config = AutoConfig.for_model(
        family, vocab_size=len(TOKENIZER), hidden_size=32, intermediate_size=64, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, pad_token_id=None,
        bos_token_id=0, eos_token_id=1, **own,
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def queries(name, seed, count=5):
    """Return prompts with one beginning and of different lengths, and their grammars."""
    rng, codec = random.Random(seed), build_codec(name, LABELS)
    shared = [TOKENIZER.bos_token_id, *encode(CORPUS[2] + "\n")]
    prompts, grammars = [], []
    for _ in range(count):
        words = rng.sample(" ".join(CORPUS).split(), rng.randint(1, 7))
        prompts.append([*shared, *encode(" ".join(words) + "\n")])
        grammars.append(Grammar(build_automaton(codec, words), encode, (END_ID,)))
    return prompts, grammars


def generated(model, prompt, grammar):
    """Return the tokens that transformers' `generate` writes when other tokens are forbidden."""

    position = grammar.begin()

    def allowed(_row, ids):
        nonlocal position
        if len(ids) > len(prompt):
            position = position.advance(ids[-1].item())
        return list(position.allowed)

    output = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        prefix_allowed_tokens_fn=allowed,
        do_sample=False,
        max_new_tokens=400,
        eos_token_id=END_ID,
        pad_token_id=END_ID,
    )
    return tuple(output[0, len(prompt) :].tolist())


@pytest.mark.parametrize("name", sorted(CODECS))
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_greedy_is_what_generate_writes_under_the_same_constraint(family, name):
    for seed in range(2):
        model = tiny_causal_lm(family, seed)
        prompts, grammars = queries(name, seed)
        for answer, prompt, grammar in zip(
            decode_constrained(model, prompts, grammars), prompts, grammars, strict=True
        ):
            assert answer.tokens == generated(model, prompt, grammar)


@pytest.mark.parametrize("budget", [Budget(new_tokens=1), Budget(kept_tokens=1), Budget(new_tokens=60)])
def test_answers_do_not_depend_on_the_batch(budget):
    model = tiny_causal_lm("llama")
    prompts, grammars = queries("markup", 3, count=12)
    together = decode_constrained(model, prompts, grammars)
    for answer, other in zip(
        together, decode_constrained(model, prompts, grammars, budget=budget), strict=True
    ):
        assert answer.tokens == other.tokens
        assert answer.log_probability == pytest.approx(other.log_probability, abs=1e-4)
        assert answer.spans == tuple((span, pytest.approx(score, abs=1e-4)) for span, score in other.spans)


def test_a_given_prefix_changes_nothing():
    model = tiny_causal_lm("llama")
    prompts, grammars = queries("markup", 1)
    shared = common_prefix(prompts)
    found = decode_constrained(model, prompts, grammars)
    for ids in ((), shared[:3], shared):
        given = decode_constrained(model, prompts, grammars, prefix=encode_prefix(model, ids))
        assert [answer.tokens for answer in given] == [answer.tokens for answer in found]


def test_a_causal_plan_changes_nothing():
    model = tiny_causal_lm("llama")
    prompts, grammars = queries("markup", 2)
    stock = decode_constrained(model, prompts, grammars)
    assert decode_constrained(apply_plan(model, "causal"), prompts, grammars) == stock


def test_the_probability_is_that_of_the_allowed_tokens_in_one_forward_pass():
    model = tiny_causal_lm("llama")
    prompts, grammars = queries("markup", 4)
    for answer, prompt, grammar in zip(
        decode_constrained(model, prompts, grammars), prompts, grammars, strict=True
    ):
        assert answer.log_probability == pytest.approx(
            log_probability(model, prompt, grammar, answer.tokens), abs=1e-4
        )
        assert all(0 < score <= 1 for _, score in answer.spans)


@pytest.mark.parametrize("family", ["mistral", "cohere", "gemma2", "phi", "mpt"])
def test_what_is_special_about_a_model_is_kept(family):
    model = other_causal_lm(family)
    prompts, grammars = queries("markup", 6)
    answers = decode_constrained(model, prompts, grammars)
    for answer, prompt, grammar in zip(answers, prompts, grammars, strict=True):
        expected = log_probability(model, prompt, grammar, answer.tokens)
        assert answer.log_probability == pytest.approx(expected, abs=1e-4)
        assert answer.tokens == generated(model, prompt, grammar)


def test_a_model_without_keys_and_values_is_refused():
    config = AutoConfig.for_model("mamba", vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=2)
    prompts, grammars = queries("markup", 6)
    with pytest.raises(ModelError, match="decoding = 'free'"):
        decode_constrained(AutoModelForCausalLM.from_config(config), prompts, grammars)


def test_too_long_for_the_positions_of_a_model():
    model = tiny_causal_lm("gpt2")
    prompts, grammars = queries("markup", 6)
    with pytest.raises(ModelError, match="512 positions"):
        decode_constrained(model, [[1] * 512 + list(prompt) for prompt in prompts], grammars)


def log_probability(model, prompt, grammar, tokens):
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *tokens]])).logits[0]
    total, position = 0.0, grammar.begin()
    for place, token in enumerate(tokens, len(prompt) - 1):
        allowed = list(position.allowed)
        total += logits[place, allowed].log_softmax(-1)[allowed.index(token)].item()
        position = position.advance(token)
    return total


def test_few_forward_passes(monkeypatch):
    """An answer without spans takes one pass, however long the text."""
    model, calls = tiny_causal_lm("llama"), []
    words = " ".join(CORPUS).split()
    grammar = Grammar(build_automaton(build_codec("markup", LABELS), words), encode, (END_ID,))
    monkeypatch.setattr(
        drafts,
        "_score",
        lambda logits, positions, vocabulary: [
            [0.0 if t == w.draft else -1.0 for t in w.allowed] for w in positions
        ],
    )
    run_feeds = drafts.run_feeds
    monkeypatch.setattr(drafts, "run_feeds", lambda *args: (calls.append(args), run_feeds(*args))[1])
    (answer,) = decode_constrained(model, [[1, 2, 3]], [grammar], prefix=encode_prefix(model, (1,)))
    assert answer.text == " ".join(words)
    assert len(calls) == 1


def every_answer(grammar):
    """Yield the tokens of every answer of a grammar."""
    begun = [(grammar.begin(), ())]
    while begun:
        position, tokens = begun.pop()
        if not position.allowed:
            yield tokens
        begun += [(position.advance(token), (*tokens, token)) for token in position.allowed]


@pytest.mark.parametrize("name", sorted(CODECS))
def test_a_wide_search_finds_the_most_probable_of_all_answers(name):
    model = tiny_causal_lm("llama", 7)
    prompt, words = [1, *encode("the word \n")], ["the", "word"]
    grammar = Grammar(build_automaton(build_codec(name, ["LOC", "LOCATION"]), words), encode, (END_ID,))
    probabilities = {t: log_probability(model, prompt, grammar, t) for t in every_answer(grammar)}
    assert sum(map(math.exp, probabilities.values())) == pytest.approx(1, abs=1e-4)
    best = max(probabilities, key=probabilities.__getitem__)
    (answer,) = decode_constrained(model, [prompt], [grammar], num_beams=1000)
    assert (answer.tokens, answer.is_best) == (best, True)
    assert answer.log_probability == pytest.approx(probabilities[best], abs=1e-4)
    (narrow,) = decode_constrained(model, [prompt], [grammar], num_beams=2)
    assert narrow.tokens == best or not narrow.is_best
    assert narrow.log_probability == pytest.approx(probabilities[narrow.tokens], abs=1e-4)


def test_a_search_is_no_worse_for_what_else_is_in_the_batch():
    model = tiny_causal_lm("llama", 5)
    prompts, grammars = queries("markup", 5)
    greedy = decode_constrained(model, prompts, grammars)
    searched = decode_constrained(model, prompts, grammars, num_beams=4)
    alone = [
        decode_constrained(model, [p], [g], num_beams=4)[0] for p, g in zip(prompts, grammars, strict=True)
    ]
    assert [answer.tokens for answer in searched] == [answer.tokens for answer in alone]
    for one, other in zip(searched, greedy, strict=True):
        assert one.log_probability > other.log_probability - 1e-4 or not one.is_best
