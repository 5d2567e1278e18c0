"""The generative labeler: offsets into the caller's text, long texts, both ways of decoding, saving."""

from dataclasses import replace

import pytest
import torch
from encoders import save_encoder
from hypothesis import given, settings, strategies as st
from transformers import GenerationConfig

from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError, ModelError, PlanError
from lookboth.generative.answer_parsing import count_problems
from lookboth.generative.free_decoding import read_answer, write_freely
from lookboth.generative.generative_building import build_generative
from lookboth.generative.generative_labeler import GenerativeLabeler
from lookboth.generative.text_parts import cut_words
from lookboth.labelers.inspect import inspect_model
from lookboth.labelers.merging import merge_to_folder
from lookboth.types import Example, Prediction, Span

POOL = [
    Example(("Ada", "was", "born", "in", "London"), (Span(0, 1, "PER"), Span(4, 5, "LOC"))),
    Example(("the", "fox", "jumps")),
    Example(("New", "York", "!"), (Span(0, 2, "LOC"),)),
]


def build(folder, *overrides):
    config = parse_config(
        {
            "model": str(folder), "method": "icl", "data": {"train": "x"}, "training": {"precision": "fp32"},
            "generative": {"k": 2, "max_answer_tokens": 24, "instruction": False},
        },
        overrides,
    )  # fmt: skip
    return build_generative(config, labels=["LOC", "PER"], pool=POOL, seed=0, device="cpu")


TEXTS = ["Ada went to New  York.", "", "nobody", "[Text: | <|end|>] \ud800 é", "the fox " * 20]


@pytest.mark.parametrize("decoding", ["free", "constrained"])
@pytest.mark.parametrize("name", ["pairs", "tags", "markup", "json"])
def test_predictions_are_well_formed_whatever_is_written(tiny_writer_folder, name, decoding):
    labeler = build(tiny_writer_folder, f"generative.format={name}", f"generative.decoding={decoding}")
    predictions = labeler.predict(TEXTS)
    for text, prediction in zip(TEXTS, predictions, strict=True):
        assert prediction.text == text
        assert len(prediction.tags) == len(prediction.words)
        for span in prediction.spans:
            assert text[span.start_char : span.end_char] == span.text
            assert 0 <= span.score <= 1
        assert decoding == "free" or not prediction.problems
    assert predictions[1].words == ()


@pytest.mark.parametrize(
    ("decoding", "sampling"),
    [("free", ()), ("free", ("temperature=0.6", "top_p=0.9", "sample_seed=3")), ("constrained", ())],
)
def test_batch_mates_and_saving_change_nothing(tiny_writer_folder, tmp_path, decoding, sampling):
    sampled = [f"generative.{setting}" for setting in sampling]
    labeler = build(
        tiny_writer_folder, f"generative.decoding={decoding}", "generative.format=pairs", *sampled
    )
    together = labeler.predict(TEXTS)
    labeler.save_pretrained(tmp_path)
    loaded = GenerativeLabeler.from_pretrained(tmp_path, device="cpu", precision="fp32", merge=False)
    for text, prediction in zip(TEXTS, together, strict=True):
        for other in (labeler, loaded):
            (alone,) = other.predict(text)
            assert [s[:3] for s in alone.spans] == [s[:3] for s in prediction.spans]
            assert [s.score for s in alone.spans] == pytest.approx(
                [s.score for s in prediction.spans], abs=1e-4
            )


def test_a_saved_one_can_be_inspected(tiny_writer_folder, tmp_path):
    build(tiny_writer_folder, "generative.format=pairs").save_pretrained(tmp_path)
    shown = inspect_model(str(tmp_path))
    assert f"generative labeler on {tiny_writer_folder}" in shown
    assert "format pairs, 2 demonstrations, adapter none, labels LOC, PER" in shown
    with pytest.raises(PlanError, match=r"cannot be changed\. Leave out the plan '0011'"):
        inspect_model(str(tmp_path), "0011")
    build(tiny_writer_folder, "generative.prompt_plan='0011'").save_pretrained(tmp_path / "planned")
    assert inspect_model(str(tmp_path / "planned")).endswith("\nplan of the prompt 0011")


def test_log_probs_are_those_of_the_model(tiny_writer_folder):
    labeler = build(tiny_writer_folder)
    language, writer = labeler.model.language, labeler.writer
    prompts = labeler.prompts(
        [Example(("Ada", "wrote")), Example(("a", "much", "longer", "text", "than", "that"))]
    )
    for prompt, answer in zip(prompts, write_freely(language, writer, prompts), strict=True):
        ids, wanted = list(prompt.input_ids), []
        for log_prob in answer.log_probs:
            with torch.no_grad():
                row = language.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            ids.append(int(row.argmax()))
            wanted.append(float(row.max()))
            assert log_prob == pytest.approx(wanted[-1], abs=1e-4)
        assert writer.tokenizer.decode(ids[len(prompt.input_ids) :]) == answer.text


@pytest.mark.parametrize(
    "habit",
    [{"repetition_penalty": 5.0}, {"no_repeat_ngram_size": 1}, {"min_new_tokens": 30}, {"num_beams": 3}],
    ids=lambda habit: next(iter(habit)),
)
def test_habits_of_writing_that_come_with_a_model_change_nothing(tiny_writer_folder, habit):
    labeler = build(tiny_writer_folder)
    language, writer = labeler.model.language, labeler.writer
    prompts = labeler.prompts([Example(("Ada", "wrote")), Example(("the", "fox", "the", "fox"))])
    wanted = write_freely(language, writer, prompts)
    own = GenerationConfig(**habit)
    language.model.generation_config = own
    assert write_freely(language, writer, prompts) == wanted
    assert language.model.generation_config is own


def test_an_answer_ends_at_its_end(tiny_writer_folder):
    writer = build(tiny_writer_folder).writer
    tokens = [*writer.encoder.encode("Ada é"), writer.end_id, *writer.encoder.encode("more")]
    answer = read_answer(writer, tokens, [-1.0] * len(tokens))
    assert (answer.text, answer.finished, answer.token_ends[-1]) == ("Ada é", True, 5)
    assert not read_answer(writer, tokens[:2], [-1.0, -1.0]).finished


@settings(deadline=None)
@given(
    words=st.lists(st.sampled_from([".", "a", "long"]), max_size=20), limit=st.integers(1, 9),
    data=st.data(),
)  # fmt: skip
def test_long_texts_are_cut_without_loss(words, limit, data):
    lengths = [data.draw(st.integers(1, 4)) for _ in words]
    parts = cut_words(words, lengths, limit)
    assert [i for start, end in parts for i in range(start, end)] == list(range(len(words)))
    assert all(sum(lengths[s:e]) <= limit or e - s == 1 for s, e in parts)


def test_every_part_of_a_long_text_is_asked(tiny_writer_folder):
    labeler = build(tiny_writer_folder, "max_tokens=32", "overlap=0")
    words = ("Ada", "was", "born", "in", "London", ".") * 10
    example = Example(words, tuple(Span(i, i + 1, "PER") for i in range(0, 60, 6)))
    parts = labeler.cut(example)
    assert len(parts) > 2
    assert tuple(word for _, part in parts for word in part.words) == words
    assert [
        Span(first + s.start, first + s.end, s.label) for first, part in parts for s in part.spans
    ] == list(example.spans)
    assert len(labeler.predict_words([words])[0].tags) == len(words)


def test_a_text_without_room_is_an_error(tiny_writer_folder):
    labeler = build(tiny_writer_folder, "generative.max_tokens=64")
    with pytest.raises(ConfigError, match=r"generative\.max_tokens = 64"):
        labeler.predict("Ada went to New York . " * 10)


def test_what_went_wrong_is_counted():
    def prediction(*problems):
        return Prediction("", (), (), (), problems=problems)

    counts = count_problems(
        [
            prediction(),
            prediction("invented", "invented"),
            prediction("unparseable"),
            prediction("unfinished"),
        ]
    )
    assert counts["num_texts"] == 4
    assert counts["unparseable_rate"] == 0.5
    assert counts["invented_rate"] == 1.0
    assert counts["miscopied"] == 0


def test_an_encoder_cannot_write(tmp_path):
    save_encoder(tmp_path, "Bert")
    with pytest.raises(ConfigError, match="an encoder cannot generate text"):
        build(tmp_path, "max_tokens=100", "overlap=0")


def test_retrieving_labelers_keep_their_sentences(tiny_writer_folder, tmp_path):
    labeler = build(tiny_writer_folder, "generative.demonstrations=bm25", "generative.k=1")
    labeler.save_pretrained(tmp_path)
    loaded = GenerativeLabeler.from_pretrained(tmp_path, device="cpu", precision="fp32", merge=False)
    assert loaded.demonstrations.pool == POOL
    one, other = (loaded.prompts([Example(words)])[0] for words in (("fox",), ("York",)))
    assert one.prefix_ids != other.prefix_ids


def test_broken_folders_are_refused(tiny_writer_folder, tmp_path):
    labeler = build(tiny_writer_folder)
    labeler.save_pretrained(tmp_path)
    file = tmp_path / "demonstrations.jsonl"
    file.write_text('{"words": 3}\n', encoding="utf-8")
    with pytest.raises(ModelError, match=r"demonstrations\.jsonl: cannot be read"):
        GenerativeLabeler.from_pretrained(tmp_path)
    labeler.config = replace(labeler.config, fingerprint="0")
    labeler.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="fingerprint"):
        GenerativeLabeler.from_pretrained(tmp_path)
    with pytest.raises(ModelError):
        merge_to_folder(str(tmp_path), tmp_path / "merged")
