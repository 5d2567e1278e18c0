"""Several labelers on one backbone: each labels as it does alone, in batches of its own or mixed with others."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_labeler

from lookboth.errors import ConfigError, ModelError
from lookboth.inference.pipeline import word_log_probs
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.labeler_pool import LabelerPool
from lookboth.labelers.merging import merge_labeler
from lookboth.models.shared_backbone import Pair, SharedBackbone, _read_rows, share_backbone, stock_of

TEXTS = (
    "Ada Lovelace was born in London",
    "the quick brown fox",
    "Toyota opened a plant near New York , it said",
    "",
    "what is it ? " * 40,
)
WORDS = [text.split() for text in TEXTS]
KINDS = {
    "linear": {"plan": "0011", "seed": 1},
    "other": {"plan": "0011", "seed": 2, "labels": ("A", "LOC", "ORG", "PER")},
    "crf": {"plan": "0011", "seed": 3, "head": {"kind": "crf"}, "scheme": "IOBES"},
    "causal": {"plan": "causal", "seed": 4, "label_on": "mean"},
    "mix": {"plan": "0011", "seed": 5, "head": {"kind": "linear", "layers": "mix"}},
    "head": {"plan": "0011", "seed": 6, "adapter": "head"},
}


@pytest.fixture(scope="module")
def folders(tiny_llama_folder, tmp_path_factory):
    """Saved labelers by name."""
    root = tmp_path_factory.mktemp("labelers")
    for name, settings in KINDS.items():
        tiny_labeler(tiny_llama_folder, **settings).save_pretrained(root / name)
    return {name: root / name for name in KINDS}


@pytest.fixture(scope="module")
def alone(folders):
    return {name: open_one(folder) for name, folder in folders.items()}


@pytest.fixture
def pool():
    return LabelerPool(device="cpu", precision="fp32")


def open_one(folder):
    return Labeler.from_pretrained(folder, device="cpu", precision="fp32")


def assert_same(one, other):
    for a, b in zip(word_log_probs(one, WORDS), word_log_probs(other, WORDS), strict=True):
        np.testing.assert_allclose(np.exp(a), np.exp(b), atol=1e-5)


def tags(predictions):
    return [prediction.tags for prediction in predictions]


def test_labelers_on_one_base_share_it_and_label_as_they_do_alone(pool, folders, alone):
    pool.add(folders)
    assert len({id(stock_of(labeler.model.backbone)) for labeler in pool.labelers.values()}) == 1
    for name, labeler in alone.items():
        assert_same(pool[name], labeler)
        assert tags(pool[name].predict(TEXTS)) == tags(labeler.predict(TEXTS))


def test_texts_of_different_labelers_share_a_pass(pool, folders, alone):
    pool.add(folders)
    texts = TEXTS[:4]
    pairs = [(name, text) for text in texts for name in folders]
    calls = []
    stock = stock_of(pool["linear"].model.backbone)
    hook = stock.register_forward_pre_hook(lambda *_: calls.append(1))
    found = pool.predict(pairs, batch_tokens=100_000)
    hook.remove()
    # One pass of each of: the same plan, another plan, all layers.
    assert len(calls) == 3
    for name, labeler in alone.items():
        own = [prediction for (who, _), prediction in zip(pairs, found, strict=True) if who == name]
        expected = labeler.predict(texts)
        assert tags(own) == tags(expected)
        scores = [[span.score for one in many for span in one.spans] for many in (own, expected)]
        np.testing.assert_allclose(*scores, atol=1e-4)


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 2), (1, 3, 2)])
@pytest.mark.parametrize("ranks", [(4, 4, 4), (4, 2, 4)])
def test_products_of_a_batch_are_those_of_each_labeler(tiny_llama_folder, counts, ranks):
    torch.manual_seed(0)
    backbone = tiny_labeler(tiny_llama_folder, adapter="head").model.backbone.eval()
    name, module = "layers.0.mlp.up_proj", backbone.layers[0].mlp.up_proj
    rows = share_backbone(backbone)
    rows.take(backbone, [name])
    ends = np.cumsum([0, *counts])
    pairs = [
        Pair(torch.randn(rank, module.in_features), torch.randn(module.out_features, rank), 0.5)
        for rank in ranks
    ]
    active = [
        (slice(int(start), int(end)), {name: pair})
        for start, end, pair in zip(ends[:-1], ends[1:], pairs, strict=False)
    ]
    x = torch.randn(sum(counts), 5, module.in_features)
    with torch.inference_mode():
        stock = module(x)
        with rows.using(active):
            found = module(x)
        with rows.using([*active[:-1], (active[-1][0], {})]):
            without_last = module(x)
    for place, own in active:
        pair = own[name]
        expected = stock[place] + 0.5 * x[place] @ pair.a.T @ pair.b.T
        torch.testing.assert_close(found[place], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(without_last[active[-1][0]], stock[active[-1][0]])
    torch.testing.assert_close(without_last[active[0][0]], found[active[0][0]], atol=1e-4, rtol=1e-4)


def test_a_labeler_that_is_alone_is_merged_and_others_come_and_go(pool, folders, alone):
    pool.add({"linear": folders["linear"]})
    folded = pool["linear"]
    assert not isinstance(folded.model.backbone, SharedBackbone)
    pool.add({"other": folders["other"], "crf": folders["crf"]})
    shared = pool["linear"]
    assert isinstance(shared.model.backbone, SharedBackbone)
    # The object from before still works; it has weights of its own.
    assert_same(folded, alone["linear"])
    pool.remove("crf")
    assert_same(pool["other"], alone["other"])
    pool.remove("other")
    assert list(pool.labelers) == ["linear"]
    assert not isinstance(pool["linear"].model.backbone, SharedBackbone)
    for layer in ("layers.0.mlp.up_proj.weight", "layers.3.self_attn.q_proj.weight"):
        assert torch.equal(
            *(who.model.backbone.get_parameter(layer) for who in (pool["linear"], alone["linear"]))
        )
    with pytest.raises(ModelError, match="Use the labeler of this name in its pool"):
        shared.predict(TEXTS[:1])
    with pytest.raises(ConfigError, match=r"no labeler 'other'. Allowed are linear"):
        pool.predict([("other", "x")])


def test_a_labeler_that_cannot_be_loaded_changes_nothing(pool, folders, alone, tmp_path):
    pool.add({"linear": folders["linear"]})
    broken = tmp_path / "broken"
    open_one(folders["other"]).save_pretrained(broken)
    (broken / "adapter" / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="adapter_model"):
        pool.add({"broken": broken})
    with pytest.raises(ConfigError, match="'linear' is taken"):
        pool.add({"linear": folders["other"]})
    assert list(pool.labelers) == ["linear"]
    assert not isinstance(pool["linear"].model.backbone, SharedBackbone)
    assert_same(pool["linear"], alone["linear"])
    pool.add({"crf": folders["crf"]})
    with pytest.raises(ModelError):
        pool.add({"broken": broken})
    for name in ("linear", "crf"):
        assert_same(pool[name], alone[name])


def test_what_is_prepared_touches_no_labeler_in_use_until_it_is_installed(pool, folders, alone):
    pool.add({"linear": folders["linear"]})
    merged = pool["linear"]
    larger = pool.prepare({"other": folders["other"]})
    assert (list(pool.labelers), pool["linear"]) == (["linear"], merged)
    assert_same(merged, alone["linear"])
    pool.install(larger)
    shared = pool["other"].model.backbone.stock
    assert shared is pool["linear"].model.backbone.stock
    modules = dict(shared.named_modules())
    hooks = {name: len(module._forward_hooks) for name, module in modules.items()}
    larger = pool.prepare({"crf": folders["crf"], "causal": folders["causal"]})
    # They are loaded onto the backbone in use by `install`.
    assert {name: len(module._forward_hooks) for name, module in modules.items()} == hooks
    pool.install(larger)
    for name in ("linear", "other", "crf", "causal"):
        assert_same(pool[name], alone[name])
    with pytest.raises(ConfigError, match="have changed since"):
        pool.install(larger)


def test_scores_do_not_depend_on_the_default_dtype_which_loading_in_another_thread_changes(alone):
    for labeler in alone.values():
        before = word_log_probs(labeler, WORDS)
        torch.set_default_dtype(torch.bfloat16)
        try:
            after = word_log_probs(labeler, WORDS)
        finally:
            torch.set_default_dtype(torch.float32)
        for own, again in zip(before, after, strict=True):
            np.testing.assert_array_equal(own, again)


def test_weights_of_its_own_are_not_shared(pool, folders, tiny_llama_folder, tmp_path):
    full = tiny_labeler(tiny_llama_folder, adapter="full", seed=7)
    full.save_pretrained(tmp_path / "full")
    pool.add({"full": tmp_path / "full", "linear": folders["linear"], "other": folders["other"]})
    assert not isinstance(pool["full"].model.backbone, SharedBackbone)
    assert_same(pool["full"], full)
    assert pool["full"].batch_key is None
    assert pool["linear"].batch_key == pool["other"].batch_key is not None
    found = pool.predict([("full", TEXTS[0]), ("linear", TEXTS[0])])
    assert tags(found[:1]) == tags(full.predict(TEXTS[0]))


def test_views_and_streams_of_a_shared_labeler_are_those_of_the_labeler(pool, folders, alone):
    pool.add({name: folders[name] for name in ("linear", "other")})
    assert_same(pool["linear"].with_plan("causal"), alone["linear"].with_plan("causal"))
    found = []
    for labeler in (pool["other"].with_plan("causal"), alone["other"].with_plan("causal")):
        stream = labeler.open_stream()
        updates = [stream.push_text(TEXTS[2] + " "), stream.finish()]
        found.append([span for update in updates for span in update.spans])
    assert [span[:3] for span in found[0]] == [span[:3] for span in found[1]]


def test_an_open_labeler_shares_its_base_and_labels_its_own_texts(pool, folders, tiny_llama_folder, tmp_path):
    tiny_labeler(tiny_llama_folder, head={"kind": "open"}, plan="0011", seed=8).save_pretrained(
        tmp_path / "open"
    )
    pool.add({"open": tmp_path / "open", "linear": folders["linear"]})
    assert isinstance(pool["open"].model.backbone, SharedBackbone)
    labels = ["company", "LOC: a place"]
    assert_same(pool["open"].with_labels(labels), open_one(tmp_path / "open").with_labels(labels))
    expected = open_one(tmp_path / "open").predict(TEXTS)
    assert tags(pool.predict([("open", text) for text in TEXTS])) == tags(expected)


def test_a_shared_labeler_is_saved_whole_and_neither_merged_nor_trained(pool, folders, tmp_path):
    pool.add({name: folders[name] for name in ("linear", "other")})
    pool["linear"].save_pretrained(tmp_path / "again")
    file = "adapter/adapter_model.safetensors"
    before, after = load_file(folders["linear"] / file), load_file(tmp_path / "again" / file)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(ModelError, match="Load it alone"):
        merge_labeler(pool["linear"])
    with pytest.raises(ModelError, match="merge=False"):
        pool["linear"].model.train()


def test_modules_that_do_not_read_rows_are_found(tiny_llama_folder):
    backbone = tiny_labeler(tiny_llama_folder, adapter="head").model.backbone
    projection, norm = backbone.layers[0].mlp.up_proj, backbone.norm
    assert _read_rows(backbone, [projection, norm])
    # As the experts of a mixture, which read tokens without rows.
    backbone.layers[0].mlp.register_forward_pre_hook(lambda _, args: (args[0].flatten(0, 1),))
    backbone.layers[0].mlp.register_forward_hook(lambda _, args, output: output.view(2, 3, -1))
    assert not _read_rows(backbone, [projection])
    assert not _read_rows(backbone, [torch.nn.Linear(2, 2)])
