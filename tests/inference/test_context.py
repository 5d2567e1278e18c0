"""Document context: sentences scored in one window with the sentences around them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import CORPUS, tiny_labeler
from typer.testing import CliRunner

from lookboth.cli import app
from lookboth.data.alignment import WordEncoder, join_words
from lookboth.data.contexts import WindowSizes, tokenize_words
from lookboth.data.documents import as_one_document, join_documents
from lookboth.data.packing import build_batch
from lookboth.errors import ModelError
from lookboth.inference.pipeline import example_scores, label_examples
from lookboth.labelers.inspect import inspect_model
from lookboth.labelers.labeler import Labeler
from lookboth.types import Example

SENTENCES = [Example(tuple(text.split())) for text in CORPUS]
DOCUMENT = as_one_document(SENTENCES)


@pytest.fixture(scope="module")
def labelers(request):
    return {
        plan: tiny_labeler(request.getfixturevalue("tiny_llama_folder"), plan=plan, max_tokens=512)
        for plan in ("causal", "0011")
    }


def changed(labeler, **settings):
    """Return a view of a labeler with other settings."""
    return Labeler(replace(labeler.config, **settings), labeler.model, labeler.tokenizer)


def repeated(labeler, copies):
    return replace(labeler.config.encoding, repetition=copies)


def oracle(labeler, left, words, right):
    """Return the scores of `words` in one pass over the concatenation of three lists of words."""
    ids = labeler.encoder.encode_words([*left, *words, *right])
    return labeler.score([join_words(ids, labeler.config.encoding)])[len(left) : len(left) + len(words)]


def check_close(found, wanted):
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def flat(examples):
    return [word for example in examples for word in example.words]


@pytest.mark.parametrize("copies", [0, 1])
@pytest.mark.parametrize("plan", ["causal", "0011"])
@pytest.mark.parametrize("context", ["document", 20])
def test_scores_are_those_of_one_pass_over_the_concatenation(labelers, plan, context, copies):
    labeler = changed(labelers[plan], context=context, encoding=repeated(labelers[plan], copies))
    found = example_scores(labeler, DOCUMENT)
    for place, example in enumerate(DOCUMENT):
        left, right = flat(DOCUMENT[:place]), flat(DOCUMENT[place + 1 :])
        if context != "document":
            left, right = nearest(labeler, left[::-1], context)[::-1], nearest(labeler, right, context)
        check_close(found[place], oracle(labeler, left, example.words, right))
    if plan == "causal" and not copies:
        check_close(found[0], example_scores(labeler, SENTENCES[:1])[0])
    else:
        assert abs(found[0] - example_scores(labeler, SENTENCES[:1])[0]).max() > 1e-3


def nearest(labeler, words, limit):
    """Return the first words with at most `limit` tokens, by trying each number of words."""
    lengths = list(map(len, labeler.encoder.encode_words(words)))
    return words[: max(n for n in range(len(words) + 1) if sum(lengths[:n]) <= limit)]


def test_without_context_documents_change_nothing(labelers):
    sizes = WindowSizes(max_tokens=64, overlap=16)
    encoder = labelers["0011"].encoder
    assert tokenize_words(DOCUMENT, encoder, sizes) == tokenize_words(SENTENCES, encoder, sizes)
    assert tokenize_words(SENTENCES, encoder, replace(sizes, context="document")) == tokenize_words(
        SENTENCES, encoder, sizes
    )


def test_the_right_side_of_a_causal_plan_costs_and_changes_nothing(labelers):
    labeler = changed(labelers["causal"], context=20)
    sizes = labeler.config.window_sizes
    pieces = tokenize_words(DOCUMENT, labeler.encoder, sizes)
    assert all(piece.word_tokens[-1][1] == len(piece) for piece in pieces)
    both = tokenize_words(DOCUMENT, labeler.encoder, replace(sizes, look_ahead=None))
    assert len(both[0]) > len(pieces[0])
    check_close(labeler.score(pieces), labeler.score(both))


def test_the_shared_row_of_a_document_hides_no_padding_of_another_row(labelers):
    labeler = changed(labelers["0011"], context="document")
    document = tokenize_words(DOCUMENT, labeler.encoder, labeler.config.window_sizes)
    short = tokenize_words(SENTENCES[:1], labeler.encoder, labeler.config.window_sizes)
    assert build_batch([*document, *short]).facts.is_padded
    check_close(labeler.score([*document, *short])[-len(SENTENCES[0].words) :], labeler.score(short))


@pytest.mark.parametrize("context", ["document", 7, 30, 500])
@pytest.mark.parametrize("max_tokens", [40, 64, 100, 2000])
@pytest.mark.parametrize("copies", [0, 2])
def test_windows_fit_and_label_the_words_of_their_sentence(labelers, context, max_tokens, copies):
    labeler = labelers["0011"]
    encoder = WordEncoder(labeler.tokenizer, repeated(labeler, copies))
    sizes = WindowSizes(max_tokens=max_tokens, overlap=8, context=context)
    pieces = tokenize_words(DOCUMENT, encoder, sizes)
    special = encoder.encoding.special_tokens()
    for index, example in enumerate(DOCUMENT):
        own = [piece for piece in pieces if piece.example == index]
        ids = [piece.input_ids[a:b] for piece in own for a, b in piece.word_tokens]
        assert ids == encoder.encode_words(example.words)
        for piece in own:
            assert (len(piece) - special) / (copies + 1) + special <= max_tokens
            if len(own) == 1:
                last_copy = special + copies * (len(piece) - special) // (copies + 1)
                assert piece.word_tokens[0][0] - last_copy <= sizes.side


def test_a_side_takes_what_the_other_leaves(labelers):
    encoder = labelers["0011"].encoder
    one = [Example(("word",)) for _ in range(101)]
    pieces = tokenize_words(as_one_document(one), encoder, WindowSizes(max_tokens=22, overlap=2, context=100))
    assert [piece.word_tokens[0][0] for piece in (pieces[0], pieces[50], pieces[100])] == [1, 11, 21]
    assert {len(piece) for piece in pieces} == {22}


def test_documents_never_mix(labelers):
    labeler = changed(labelers["0011"], context="document")
    two = join_documents(SENTENCES, ["a", "b", "a", None])
    found = example_scores(labeler, two)
    check_close(found[0], oracle(labeler, [], SENTENCES[0].words, SENTENCES[2].words))
    check_close(found[2], oracle(labeler, SENTENCES[0].words, SENTENCES[2].words, []))
    for alone in (1, 3):
        check_close(found[alone], example_scores(labeler, [SENTENCES[alone]])[0])


@pytest.mark.parametrize("head", ["linear", "crf", "context_gate"])
def test_sentences_that_share_a_row_score_as_alone(tiny_gpt2_folder, head):
    labeler = tiny_labeler(tiny_gpt2_folder, plan="0110", head={"kind": head}, max_tokens=512)
    labeler = changed(labeler, context="document")
    pieces = tokenize_words(DOCUMENT, labeler.encoder, labeler.config.window_sizes)
    assert build_batch(pieces).input_ids.shape[0] == 1
    alone = np.concatenate([labeler.score([piece]) for piece in pieces])
    check_close(labeler.score(pieces), alone)
    check_close(np.concatenate(example_scores(labeler, DOCUMENT)), alone)
    # Sampled, in any order and next to other documents: the windows do not change.
    mixed = [DOCUMENT[2], *as_one_document(SENTENCES[:2]), DOCUMENT[1]]
    check_close(example_scores(labeler, mixed)[0], labeler.score(pieces[2:3]))
    packed = build_batch(
        [*pieces, *tokenize_words(mixed, labeler.encoder, labeler.config.window_sizes)], layout="packed"
    )
    with torch.no_grad(), labeler.model.predicting(labeler.config.plan):
        logits = labeler.model(**packed.tensors())["logits"].numpy()
    check_close(logits[: len(alone)], alone)


def test_predictions_and_evaluation_use_the_windows_of_the_saved_labeler(labelers, tmp_path):
    labeler = changed(labelers["0011"], context=25, max_tokens=64)
    labeler.save_pretrained(tmp_path)
    again = Labeler.from_pretrained(tmp_path, precision="fp32")
    assert "up to 25 tokens" in inspect_model(str(tmp_path))
    assert "needs documents" in (tmp_path / "README.md").read_text()
    assert again.config.context == 25
    before, after = (list(label_examples(each, DOCUMENT)) for each in (labeler, again))
    assert [p.tags for p in before] == [p.tags for p in after]
    plain = list(label_examples(labeler, SENTENCES))
    assert [p.words for p in plain] == [p.words for p in before]


def test_whole_texts_have_no_context(labelers):
    with pytest.raises(ModelError, match="context"):
        changed(labelers["0011"], task="classification", context=5)


@pytest.fixture(scope="module")
def saved(labelers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("context")
    changed(labelers["0011"], context="document").save_pretrained(folder)
    return folder


def tags_of(predictions):
    return [prediction.tags for prediction in predictions]


def test_python_labels_a_document(labelers):
    labeler = changed(labelers["0011"], context="document")
    sentences, texts = [e.words for e in SENTENCES], [" ".join(e.words) for e in SENTENCES]
    joined = tags_of(label_examples(labeler, DOCUMENT))
    assert tags_of(labeler.predict_words(sentences, document=True)) == joined
    assert tags_of(labeler.predict(texts, document=True)) == joined
    assert tags_of(labeler.predict_words(sentences)) == tags_of(label_examples(labeler, SENTENCES))
    assert tags_of(labeler.predict(texts[0], document=True)) == tags_of(labeler.predict(texts[0]))


@pytest.mark.parametrize(
    ("name", "options", "names"),
    [
        ("a.txt", [], [None] * 4),
        ("a.txt", ["--documents", "file"], [0] * 4),
        ("a.jsonl", [], [0, 1, 0, None]),
        ("a.conll", [], [0, 1, 1, 1]),
        ("a.conll", ["--documents", "blank_lines"], [0, 1, 1, 2]),
        ("b.conll", [], [None] * 4),
    ],
)
def test_the_command_reads_documents_of_files(saved, tmp_path, name, options, names):
    path = tmp_path / name
    if name == "a.txt":
        path.write_text("".join(" ".join(e.words) + "\n" for e in SENTENCES))
    elif name == "a.jsonl":
        records = [
            {"tokens": e.words} | ({} if n is None else {"document": n})
            for e, n in zip(SENTENCES, names, strict=True)
        ]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        marks = ("", "-DOCSTART-\n", "", "\n") if name == "a.conll" else ("",) * 4
        path.write_text(
            "".join(mark + "\n".join(e.words) + "\n\n" for mark, e in zip(marks, SENTENCES, strict=True))
        )
    result = CliRunner().invoke(app, ["predict", str(path), "--model", str(saved), "-f", "jsonl", *options])
    assert result.exit_code == 0, result.output
    labeler = Labeler.from_pretrained(saved)
    wanted = [p.to_dict()["spans"] for p in label_examples(labeler, join_documents(SENTENCES, names))]
    found = [json.loads(line)["spans"] for line in result.stdout.splitlines()]
    assert [[s["label"] for s in spans] for spans in found] == [
        [s["label"] for s in spans] for spans in wanted
    ]
    scores = [[[s["score"] for spans in each for s in spans]] for each in (found, wanted)]
    np.testing.assert_allclose(scores[0], scores[1], atol=2e-3)


def test_documents_for_a_labeler_without_context_are_refused(labelers, tmp_path):
    labelers["causal"].save_pretrained(tmp_path / "plain")
    (tmp_path / "a.txt").write_text("Ada Lovelace\n")
    asked = ["predict", str(tmp_path / "a.txt"), "--model", str(tmp_path / "plain"), "--documents", "file"]
    result = CliRunner().invoke(app, asked)
    assert "context = 0" in str(result.exception)
