"""Open labelers: labels named at prediction time become the weights of a linear head."""

import json

import numpy as np
import pytest
import torch
from tiny import tiny_labeler

from lookboth.data.label_texts import (
    LabelText,
    describe_labels,
    encode_label,
    parse_labels,
    split_labels,
)
from lookboth.data.packing import build_batch
from lookboth.data.schemes import find_tag_errors
from lookboth.errors import ConfigError, ModelError
from lookboth.inference.pipeline import word_scores
from lookboth.labelers.fixed_labels import LabelVectors
from lookboth.labelers.inspect import inspect_model
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.merging import merge_labeler
from lookboth.models.heads.head import LinearHead
from lookboth.types import Example

SENTENCES = (("Ada", "lived", "in", "London", "."), ("Toyota",), ("what", "is", "it", "?"))
LONG = tuple(word for sentence in SENTENCES for word in sentence) * 20
LABELS = ["company", "product: something that is sold"]


@pytest.fixture(params=["causal", "0011"])
def labeler(request, tiny_llama_folder):
    """An open labeler under each plan."""
    return tiny_labeler(tiny_llama_folder, head={"kind": "open"}, plan=request.param)


def scores(labeler, sentences=SENTENCES):
    return np.concatenate(word_scores(labeler, sentences))


def column_of(labeler, tag):
    return scores(labeler)[:, labeler.config.tags.index(tag)]


@pytest.mark.parametrize("scheme", ["IOB2", "IOBES", "plain"])
@pytest.mark.parametrize("layers", ["last", "mix"])
def test_fixed_labels_are_a_linear_head_with_their_vectors_as_weights(tiny_llama_folder, scheme, layers):
    labeler = tiny_labeler(tiny_llama_folder, head={"kind": "open", "layers": layers}, scheme=scheme)
    model, pieces = labeler.model, [labeler.encoder.encode(words) for words in SENTENCES]
    lead = labeler.config.head.label_lead
    texts = build_batch([encode_label(labeler.encoder, text, lead) for text in LABELS])
    names = ("input_ids", "attention_mask")
    with torch.no_grad():
        label_batch = {f"label_{name}": getattr(texts, name) for name in names}
        open_scores = model(
            **build_batch(pieces).tensors(),
            **label_batch,
            label_first=texts.word_first,
            label_last=texts.word_last,
            asked=torch.ones(3, 2, dtype=torch.bool),
        )["logits"]
    fixed = labeler.with_labels(LABELS)
    assert type(fixed.model.head) is LinearHead
    assert fixed.config.head.kind == "linear"
    assert fixed.config.labels == ("company", "product")
    np.testing.assert_allclose(fixed.score(pieces), open_scores.numpy(), atol=1e-5)


def test_labels_do_not_depend_on_their_order_or_on_other_labels(labeler):
    one, other = labeler.with_labels(LABELS), labeler.with_labels([*LABELS[::-1], "animal", "zebra"])
    for tag in one.config.tags:
        np.testing.assert_allclose(column_of(one, tag), column_of(other, tag), atol=1e-5)


def test_a_description_changes_the_scores_of_its_label_only(labeler):
    one, other = labeler.with_labels(LABELS), labeler.with_labels(["company: a firm", LABELS[1]])
    assert np.abs(column_of(one, "B-company") - column_of(other, "B-company")).max() > 1e-3
    np.testing.assert_allclose(column_of(one, "B-product"), column_of(other, "B-product"), atol=1e-5)


def test_vectors_are_computed_once_until_the_model_is_trained(labeler, monkeypatch):
    read = []
    encode = labeler.model.encode
    monkeypatch.setattr(labeler.model, "encode", lambda *a, **k: read.append(k) or encode(*a, **k))
    before = labeler.with_labels(LABELS)
    labeler.with_labels(LABELS[::-1])
    assert len(read) == 1
    labeler.model.train()
    with torch.no_grad():
        for name, weights in labeler.model.named_parameters():
            if "lora_B" in name:
                weights.mul_(2)
    after = labeler.with_labels(LABELS)
    assert len(read) == 2
    assert not torch.allclose(before.model.head.weight, after.model.head.weight)
    assert labeler.model.training
    assert all(module.training for module in labeler.model.modules())


def test_vectors_of_a_training_are_not_kept_for_the_restored_weights(labeler):
    labeler.model.train()
    before = labeler.with_labels(LABELS)
    with torch.no_grad():
        for name, weights in labeler.model.named_parameters():
            if "lora_B" in name:
                weights.mul_(2)
    labeler.model.eval()
    assert not torch.allclose(before.model.head.weight, labeler.with_labels(LABELS).model.head.weight)


@pytest.mark.parametrize("size", [0.1, 10.0])
def test_a_new_head_scores_the_similarity_of_word_and_label(labeler, size):
    head = labeler.model.head
    vectors = size * torch.randn(40, 32) + 3 * size * torch.randn(32)
    head.begin_as_similarity(vectors)
    scores = head(vectors, torch.tensor([40]), vectors, torch.ones(1, 40, dtype=torch.bool))
    assert scores[:, 1:].std().item() == pytest.approx(2.0, rel=0.1)
    torch.testing.assert_close(scores[:, 1::2], scores[:, 2::2])
    assert scores[:, 1::2].argmax(dim=1).tolist() == list(range(40))
    assert not scores[:, 0].any()


def test_a_new_head_with_a_single_label_is_finite(labeler):
    labeler.model.head.begin_as_similarity(torch.randn(1, 32))
    assert labeler.model.head.scale.item() == 1.0


def test_saved_and_loaded_it_says_the_same_and_names_its_labels(labeler, tmp_path):
    labeler.config = labeler.config.__class__(
        **{**vars(labeler.config), "label_texts": ("LOC: a place", "PER")}
    )
    labeler.save_pretrained(tmp_path / "open")
    again = Labeler.from_pretrained(tmp_path / "open", precision="fp32", device="cpu")
    assert again.config == labeler.config
    for named in (lambda which: which, lambda which: which.with_labels(LABELS)):
        np.testing.assert_allclose(scores(named(again)), scores(named(labeler)), atol=1e-5)
    assert "labels are named at prediction time; trained on LOC: a place, PER" in inspect_model(
        str(tmp_path / "open")
    )
    card = (tmp_path / "open" / "README.md").read_text(encoding="utf-8")
    assert "Labels are named at prediction time" in card
    assert "`LOC: a place`, `PER`" in card
    assert ".with_labels([" in card


def test_the_lead_of_a_label_is_read_and_not_averaged(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, head={"kind": "open"}, plan="causal")
    piece = encode_label(labeler.encoder, "company", "a kind of:")
    (first, end) = piece.word_tokens[0]
    assert labeler.tokenizer.decode(piece.input_ids[first:end]).strip() == "company"
    assert "kind of" in labeler.tokenizer.decode(piece.input_ids[:first])
    bare = tiny_labeler(tiny_llama_folder, head={"kind": "open", "label_lead": ""}, plan="causal")
    assert np.abs(scores(labeler.with_labels(LABELS)) - scores(bare.with_labels(LABELS))).max() > 1e-3


def test_an_open_labeler_saved_before_there_were_leads_reads_labels_without_one(tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder, head={"kind": "open", "label_lead": ""})
    labeler.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    assert settings["head"].pop("label_lead") == ""
    file.write_text(json.dumps(settings), encoding="utf-8")
    again = Labeler.from_pretrained(tmp_path, precision="fp32", device="cpu")
    assert again.config == labeler.config
    np.testing.assert_allclose(scores(again), scores(labeler), atol=1e-5)


def test_fixed_labels_are_saved_as_an_ordinary_labeler(labeler, tmp_path):
    fixed = labeler.with_labels(LABELS)
    fixed.save_pretrained(tmp_path)
    again = Labeler.from_pretrained(tmp_path, precision="fp32", device="cpu")
    assert again.config == fixed.config
    np.testing.assert_allclose(scores(again), scores(fixed), atol=1e-5)
    with pytest.raises(ModelError, match="labels of this labeler are fixed: company, product"):
        again.with_labels(["thing"])


def test_fixed_labels_can_be_trained_further(labeler):
    fixed = labeler.with_labels(LABELS)
    start = fixed.model.head.weight.detach().clone()
    pieces = [fixed.encoder.encode(SENTENCES[0], labels=[1, 0, 0, 3, 0])]
    fixed.model.train()
    optimizer = torch.optim.AdamW([w for w in fixed.model.parameters() if w.requires_grad], lr=0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = fixed.model(**build_batch(pieces).tensors())["loss"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert not torch.equal(fixed.model.head.weight, start)
    assert losses[-1] < losses[0] / 2


def test_merged_it_says_the_same(labeler):
    before = scores(labeler.with_labels(LABELS))
    np.testing.assert_allclose(scores(merge_labeler(labeler).with_labels(LABELS)), before, atol=1e-4)


def test_each_text_gets_the_labels_of_its_label_set(labeler):
    sets = [("LOC",), ("company", "product: something that is sold"), ()]
    examples = [Example(words, label_set=labels) for words, labels in zip(SENTENCES, sets, strict=True)]
    found = [one.tags for one in labeler.label_chunk(examples, batch_tokens=None)]
    for example, tags in zip(examples, found, strict=True):
        named = labeler.with_labels(example.label_set or labeler.config.labels)
        assert named.predict_words([example.words])[0].tags == tags


@pytest.mark.parametrize("count", [1, 200])
def test_any_number_of_labels_is_decoded_to_well_formed_tags(labeler, count):
    named = labeler.with_labels([f"label_{number}" for number in range(count)])
    assert len(named.config.labels) == count
    for prediction in named.predict_words([*SENTENCES, LONG]):
        assert not find_tag_errors(prediction.tags, "IOB2")


def test_a_view_under_another_plan_reads_labels_under_it(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, head={"kind": "open"}, plan="causal")
    other = tiny_labeler(tiny_llama_folder, head={"kind": "open"}, plan="0011")
    viewed = labeler.with_plan("0011").with_labels(LABELS)
    np.testing.assert_allclose(scores(viewed), scores(other.with_labels(LABELS)), atol=1e-5)


def test_a_stream_finds_the_labels_of_the_training(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, head={"kind": "open"}, plan="causal")
    for found, named in ((labeler, labeler), (labeler.with_labels(LABELS), labeler.with_labels(LABELS))):
        stream = found.open_stream()
        tags = [*stream.push(SENTENCES[0]).tags, *stream.finish().tags]
        assert tuple(tags) == named.predict_words(SENTENCES[:1])[0].tags


def test_labels_of_any_script_with_commas_and_colons_are_read():
    text = 'a:b, "research, development", product: something sold,  \u4ea7\u54c1\uff1a\u51fa\u552e\u7684\u4e1c\u897f'
    assert [tuple(label) for label in parse_labels(text)] == [
        ("a:b", ""),
        ("product", "something sold"),
        ("research, development", ""),
        ("\u4ea7\u54c1", "\u51fa\u552e\u7684\u4e1c\u897f"),
    ]
    assert split_labels('\u516c\u53f8\uff0c"\u4ea7\u54c1\uff1aa\uff0cb"\u060c x') == [
        "\u516c\u53f8",
        "\u4ea7\u54c1\uff1aa\uff0cb",
        "x",
    ]
    assert parse_labels({"b": "", "a": "of two\nlines"}) == (("a", "of two lines"), ("b", ""))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "0 labels are named"),
        ("", "0 labels are named"),
        (["company", " "], "label 2 has an empty name"),
        ("company,,product", "label 2 has an empty name"),
        ([": a firm"], "label 1 has an empty name"),
        (["company", "company: a firm"], "'company' is named twice"),
        (["B-PER", "E-mail", "I-PER"], "'B-PER' and 'I-PER' are tags of one label. Name the label: 'PER'"),
        (["O"], "label 1 is 'O'"),
        (["\ud800"], "surrogate"),
        ('product: "a car, or a boat", person', "quotation mark without its partner"),
        ({"part: a": "a piece"}, "label 1: the name 'part: a' has a colon before a space"),
        ({"part": None}, "None is not a text"),
        ([("part", "a piece")], "is not a text"),
        ([str(number) for number in range(1001)], "allowed are 1 to 1,000"),
        ("missing.toml", "missing.toml: no such file"),
        ("missing.txt", "missing.txt: no such file"),
        ("company; product", "contains ';'. Labels are separated by commas"),
        ("\u516c\u53f8\u3001\u4ea7\u54c1", "contains '\u3001'"),
        ('["company", "product"]', "contains '\\['"),
        ("'company', 'product'", 'contains "\'"'),
        (__file__, "is not a file of labels"),
        ("loc,LOC", "'LOC' and 'loc' differ only in letter case, blanks, '-' or '_'"),
        (["creative work", "Creative_Work: a book"], "so one is probably a slip. Leave one out"),
        ({"US": "a country", "us": "a country"}, "'US' and 'us' differ only in letter case"),
    ],
)
def test_labels_that_cannot_be_named_are_refused(labels, message):
    with pytest.raises(ConfigError, match=message):
        parse_labels(labels)


def test_labels_are_read_from_text_files_and_from_files_of_windows(tmp_path):
    lines, toml = tmp_path / "labels.txt", tmp_path / "LABELS.TOML"
    lines.write_bytes(b"\xef\xbb\xbfcompany\r\n\r\nproduct: a thing, or a service; sold\r\n")
    assert split_labels(str(lines)) == ["company", "product: a thing, or a service; sold"]
    toml.write_bytes(b'\xef\xbb\xbfcompany = "a firm"\r\n')
    assert split_labels(str(toml)) == ["company: a firm"]
    lines.write_text("company, product", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"line 1: 'company, product' has a comma. Write one label per line"
    ):
        split_labels(str(lines))
    for content, message in (("creative work = 'a'", '"creative work" ='), ("a.b = 'c'", "a is a section")):
        toml.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            split_labels(str(toml))


def test_vectors_are_kept_until_a_weight_changes(labeler, monkeypatch):
    def vectors():
        return labeler.with_labels(LABELS).model.head.weight.detach().clone()

    first, computed = vectors(), []
    compute = LabelVectors._compute
    monkeypatch.setattr(LabelVectors, "_compute", lambda *args: computed.append(args[1]) or compute(*args))
    assert torch.equal(vectors(), first)
    assert computed == [[]]
    weight = next(weight for name, weight in labeler.model.named_parameters() if "lora_B" in name)
    with torch.no_grad():
        weight.add_(0.5)
    changed = vectors()
    assert not torch.equal(changed, first)
    fresh = Labeler(labeler.config, labeler.model, labeler.tokenizer).with_labels(LABELS)
    assert torch.equal(changed, fresh.model.head.weight)


def test_similar_names_are_two_labels_where_descriptions_or_data_say_so(labeler):
    assert len(parse_labels("US: a country, us: a pronoun, A-, A, C, C++")) == 6
    known = [LabelText("LOC"), LabelText("loc")]
    assert labeler.with_labels(known).config.labels == ("LOC", "loc")
    example = Example(("Ada", "lived"), label_set=("LOC", "loc"))
    assert next(iter(labeler.label_chunk([example], batch_tokens=None))).words == example.words


def test_a_description_of_a_similar_name_is_reported(tmp_path, progress):
    (tmp_path / "labels.toml").write_text(
        'product = "a thing"\nLOC = "a place"\nloc = "here"', encoding="utf-8"
    )
    assert describe_labels(str(tmp_path), ["LOC", "Product"]) == ("LOC: a place", "Product")
    assert progress() == [
        f"{tmp_path}: the description of 'product' is not used: the label of the data is 'Product'. Describe 'Product' "
        "instead."
    ]


def test_a_description_of_a_page_is_refused(labeler):
    with pytest.raises(ConfigError, match="tokens; allowed are 256"):
        labeler.with_labels(["company: " + "a firm of any size " * 80])


def test_descriptions_are_read_from_a_file_and_from_the_folder_of_the_data(tmp_path):
    file = tmp_path / "labels.toml"
    file.write_text('PER = "a human being"\n"creative work" = "a book, or a song"\n', encoding="utf-8")
    assert split_labels(str(file)) == ["PER: a human being", "creative work: a book, or a song"]
    assert describe_labels(str(tmp_path), ["LOC", "PER"], {"LOC": "a place"}) == (
        "LOC: a place",
        "PER: a human being",
    )
    assert describe_labels("wnut17:dev", ["person"]) == ("person: a human being, real or fictional",)
    with pytest.raises(ConfigError, match="the name 'part: a' has a colon before a space"):
        describe_labels(str(tmp_path), ["LOC", "part: a"])
    file.write_text('"part: a" = "a piece"', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"labels.toml: the name 'part: a' has a colon before a space"):
        split_labels(str(file))
    file.write_text("PER = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="PER is 1, not a text"):
        describe_labels(f"{tmp_path}:train", ["PER"])
