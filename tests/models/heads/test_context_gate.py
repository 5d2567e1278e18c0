"""The context gate: every word reads the last word of its own text, and no other text's."""

import torch
from hypothesis import given, settings, strategies as st

from lookboth.config.training_sections import HeadConfig
from lookboth.models.heads.head_registry import build_head

TAGS = ("O", "B-A", "I-A")


def make(seed=0):
    torch.manual_seed(seed)
    return build_head(
        HeadConfig(kind="context_gate"), hidden_size=6, num_layers=1, tags=TAGS, scheme="IOB2"
    ).eval()


@given(num_words=st.lists(st.integers(0, 4), min_size=1, max_size=4), seed=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_it_is_the_formula_of_the_paper_text_by_text(num_words, seed):
    head = make(seed)
    states = torch.randn(sum(num_words), 6)
    expected = []
    for text in states.split(num_words):
        for x in text:
            g = text[-1]
            both = torch.cat([g, x])
            gate_g = torch.sigmoid(head.gate_context.weight @ both + head.gate_context.bias)
            gate_x = torch.sigmoid(head.gate_word.weight @ both + head.gate_word.bias)
            expected.append(head.weight @ (gate_g * g + gate_x * x) + head.bias)
    found = head(states, torch.tensor(num_words))
    assert found.shape == (sum(num_words), len(TAGS))
    for row, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(row, wanted, atol=1e-5, rtol=1e-4)


def test_the_last_word_moves_all_words_of_its_text_and_of_no_other():
    head, states, num_words = make(), torch.randn(7, 6), torch.tensor([3, 4])
    changed = states.clone()
    changed[2] += 1.0
    moved = (head(states, num_words) - head(changed, num_words)).abs().amax(1) > 1e-6
    assert moved.tolist() == [True] * 3 + [False] * 4
