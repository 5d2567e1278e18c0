"""Sampling in free decoding: the distribution, the nucleus, and the settings that need each other."""

import pytest
import torch

from lookboth.config.generative_section import GenerativeConfig
from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError
from lookboth.generative.free_decoding import _Chooser
from lookboth.generative.prompts import Prompt

SCORES = torch.tensor([2.0, 1.0, 0.0, -1.0])


def chosen(number=4000, **settings):
    """The tokens chosen for SCORES in one step, one per prompt, and their log-probabilities."""
    config = GenerativeConfig(decoding="free", **settings)
    prompts = [
        Prompt(words=("a",), prefix_ids=(), query_ids=(i,), max_answer_tokens=1) for i in range(number)
    ]
    chooser = _Chooser(prompts, config)
    ranked = chooser(torch.zeros(number, 1), SCORES.expand(number, -1))
    return ranked.argmax(-1), chooser.steps[0]


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
def test_tokens_are_drawn_with_their_probability_at_the_temperature(temperature):
    tokens, log_probs = chosen(temperature=temperature)
    shares = torch.bincount(tokens, minlength=4) / len(tokens)
    torch.testing.assert_close(shares, (SCORES / temperature).softmax(-1), atol=0.03, rtol=0)
    # The probability of an answer is that of the model, not of the sampling.
    torch.testing.assert_close(log_probs, SCORES.log_softmax(-1)[tokens])


def test_only_the_nucleus_is_drawn():
    # The probabilities are 0.64, 0.24, 0.09 and 0.03; the second token reaches 0.8.
    assert set(chosen(temperature=1.0, top_p=0.8)[0].tolist()) == {0, 1}
    assert set(chosen(temperature=1.0, top_p=0.1)[0].tolist()) == {0}


def test_greedy_takes_the_maximum_and_a_seed_changes_the_draw():
    assert set(chosen()[0].tolist()) == {0}
    one, other = (chosen(temperature=1.0, sample_seed=seed)[0] for seed in (0, 1))
    assert (one == chosen(temperature=1.0)[0]).all()
    assert (one != other).any()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["temperature=0.6"], "sampling needs generative.decoding = 'free'"),
        (["decoding=free", "top_p=0.9"], "greedy decoding does not sample"),
        (["decoding=free", "sample_seed=1"], "greedy decoding does not sample"),
    ],
)
def test_settings_of_sampling_without_effect_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        parse_config({"data": {"train": "x"}}, [f"generative.{setting}" for setting in overrides])
