"""The mix of layers: a weighted mean of normalized word states, whatever the layers look like."""

import pytest
import torch
from tiny import tiny_labeler

from lookboth.data.packing import build_batch
from lookboth.models import labeler_model
from lookboth.models.heads.mix import LayerMix
from lookboth.models.word_pooling import pool_words

WORDS = ("unquestionably", "in", "London")


def batch_of(labeler):
    return build_batch([labeler.encoder.encode(WORDS)])


@pytest.mark.parametrize("folder", ["tiny_llama_folder", "tiny_gpt2_folder"])
@pytest.mark.parametrize("label_on", ["first", "last", "mean"])
def test_all_weight_on_one_layer_is_that_layer_normalized(folder, label_on, request):
    labeler = tiny_labeler(request.getfixturevalue(folder), head={"layers": "mix"}, label_on=label_on)
    model, batch = labeler.model, batch_of(labeler)
    with torch.inference_mode():
        output = model.backbone(input_ids=batch.input_ids, output_hidden_states=True)
        layers = [*output.hidden_states[:-1], output.last_hidden_state]
        assert len(model.head.mix.weights) == len(layers) == 5
        for number, layer in enumerate(layers):
            model.head.mix.weights.fill_(-100.0)
            model.head.mix.weights[number] = 100.0
            model.head.mix.scale.fill_(2.0)
            words = pool_words(layer[0], batch.word_first, batch.word_last, model.label_on)
            wanted = model.head(2 * torch.nn.functional.layer_norm(words, (32,)), batch.num_words)
            torch.testing.assert_close(model(**batch.tensors())["logits"], wanted, atol=1e-4, rtol=1e-4)


def test_it_starts_as_the_mean_of_all_layers():
    states = torch.randn(3, 6, 8)
    mean = torch.nn.functional.layer_norm(states, (8,)).mean(0)
    torch.testing.assert_close(LayerMix(3)(iter(states)), mean)


def test_outlier_dimensions_and_large_layers_do_not_drown_the_others():
    quiet, loud = torch.randn(5, 64), 1e4 * torch.randn(5, 64)
    mixed = LayerMix(2)(iter([quiet, loud])).detach()
    alone = torch.nn.functional.layer_norm(quiet, (64,))
    assert torch.corrcoef(torch.stack([mixed.flatten(), alone.flatten()]))[0, 1] > 0.5


def test_every_layer_gets_its_share_of_the_gradient(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, head={"layers": "mix"})
    inputs = batch_of(labeler).tensors()
    labeler.model(**inputs, labels=torch.tensor([0, 1, 2]))["loss"].backward()
    grads = {name: p.grad for name, p in labeler.model.named_parameters() if p.requires_grad}
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads.values())
    assert (labeler.model.head.mix.weights.grad != 0).all()


def test_a_frozen_backbone_keeps_no_graph(tiny_llama_folder, monkeypatch):
    labeler = tiny_labeler(tiny_llama_folder, head={"layers": "mix"}, adapter="head")
    seen = []
    labeler.model.head.mix.register_forward_hook(lambda module, args, out: seen.append(out))
    monkeypatch.setattr(labeler_model, "pool_words", lambda *args: seen.append(pool_words(*args)) or seen[-1])
    labeler.model(**batch_of(labeler).tensors())
    assert [state.requires_grad for state in seen] == [False] * 5 + [True]


def test_the_mixed_head_costs_nothing_when_it_is_off(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder)
    assert labeler.model.head.mix is None
    assert set(labeler.model.head.state_dict()) == {"weight", "bias"}
