"""The comparison of heads for overlapping spans: the made nesting, and the biaffine head."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from lookboth.data import encode_nested, nested_tags
from lookboth.types import Example, Span

SCRIPT = Path(__file__).parents[2] / "experiments" / "nested_heads.py"
SPANS = [Span(0, 3, "ORG"), Span(1, 2, "ORG"), Span(1, 2, "LOC"), Span(4, 5, "LOC")]


@pytest.fixture
def heads(monkeypatch):
    spec = importlib.util.spec_from_file_location("nested_heads", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "nested_heads", module)
    spec.loader.exec_module(module)
    return module


def test_known_parts_of_spans_become_spans(heads):
    cell, cancer = Span(0, 1, "Cell"), Span(0, 1, "Cancer")
    known = [Example(("cell",), (cell,))] * 4 + [Example(("cell",), (cancer,))]
    known += [Example(("renal",), (Span(0, 1, "Organ"),))]
    names = heads.part_labels(known)
    # "renal" is annotated once only.
    assert names == {("cell",): "Cell"}
    whole = Example(("a", "renal", "cell", "tumour", "cell"), (Span(1, 4, "Cancer"), Span(4, 5, "Cell")))
    made = heads.with_parts(whole, names)
    assert made.spans == (Span(1, 4, "Cancer"), Span(2, 3, "Cell"), Span(4, 5, "Cell"))
    assert heads.outermost(made).spans == whole.spans


def test_the_biaffine_head_learns_nested_spans_and_none_that_cross(heads):
    torch.manual_seed(0)
    tags = nested_tags(["LOC", "ORG"], 2)
    head, states, sizes = heads.BiaffineHead(16, tags, "nested"), torch.randn(9, 16), torch.tensor([5, 4])
    gold = [SPANS[:2] + SPANS[3:], []]
    rows = torch.tensor([*encode_nested(gold[0], 5, tags), *encode_nested([], 4, tags)])
    assert set(head.spans_of(torch.tensor(encode_nested(SPANS, 5, tags)).numpy())) == set(SPANS)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        head.loss(head(states, sizes), rows, sizes).backward()
        optimizer.step()
    with torch.no_grad():
        words = head.eval()(states, sizes).numpy()
        found = [sorted(head.decode(part)) for part in (words[:5], words[5:])]
    assert found == gold
    assert heads.crosses(Span(0, 3, "A"), Span(2, 4, "B"))
    assert not heads.crosses(Span(0, 3, "A"), Span(1, 3, "B"))
