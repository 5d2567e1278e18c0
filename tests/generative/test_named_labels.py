"""Labels and demonstrations named in prediction: they reach the prompt and the answer, and are saved."""

import logging
from dataclasses import replace

import pytest

from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError, DataError, ModelError
from lookboth.evaluation.command import evaluate_on
from lookboth.generative.generative_building import build_generative
from lookboth.generative.generative_labeler import GenerativeLabeler
from lookboth.labelers.inspect import inspect_model
from lookboth.labelers.merging import fix_labels_to_folder
from lookboth.labelers.opening import open_labeler
from lookboth.types import Example, Span

POOL = [
    Example(("Ada", "was", "born", "in", "London"), (Span(0, 1, "PER"), Span(4, 5, "LOC"))),
    Example(("the", "fox", "jumps")),
    Example(("New", "York", "!"), (Span(0, 2, "LOC"),)),
]
CARS = [
    Example(("Toyota", "sells", "the", "Corolla"), (Span(0, 1, "maker"), Span(3, 4, "car"))),
    Example(("the", "Beetle", "is", "old"), (Span(1, 2, "car"),)),
]
CARS_FILE = "Toyota B-maker\nsells O\nthe O\nCorolla B-car\n\nthe O\nBeetle B-car\nis O\nold O\n"


def build(folder, *overrides, pool=POOL, labels=("LOC", "PER")):
    config = parse_config(
        {
            "model": str(folder), "method": "icl", "data": {"train": "x"}, "training": {"precision": "fp32"},
            "generative": {"k": 2, "chat": False, "max_tokens": 400},
        },
        overrides,
    )  # fmt: skip
    return build_generative(config, labels=labels, pool=pool, seed=0, device="cpu")


def prompt_of(labeler, words="a Golf"):
    return labeler.tokenizer.decode(labeler.prompts([Example(tuple(words.split()))])[0].input_ids)


@pytest.fixture
def cars(tmp_path):
    file = tmp_path / "cars.conll"
    file.write_text(CARS_FILE, encoding="utf-8")
    (tmp_path / "texts.txt").write_text("a Golf is a car\n", encoding="utf-8")
    return file


def test_new_labels_and_demonstrations_reach_the_prompt_alone(tiny_writer_folder):
    labeler = build(tiny_writer_folder, "generative.k=5")
    named = labeler.with_labels(["car: a vehicle", "maker"], demonstrations=CARS)
    shown = prompt_of(named)
    assert "- car: a vehicle\n- maker\n" in shown
    assert "[Toyota | maker] sells the [Corolla | car]" in shown
    assert "[Beetle | car]" in shown
    assert not any(old in shown for old in ("PER", "LOC", "Ada", "York", "fox"))
    assert named.config.labels == ("car", "maker")
    # The labeler itself is as before.
    assert "[Ada | PER]" in prompt_of(labeler)


@pytest.mark.parametrize("decoding", ["constrained", "free"])
@pytest.mark.parametrize("name", ["pairs", "tags", "markup", "json"])
def test_answers_are_parsed_with_the_new_labels(tiny_writer_folder, name, decoding):
    labeler = build(
        tiny_writer_folder, f"generative.format={name}", f"generative.decoding={decoding}",
        "generative.max_answer_tokens=24",
    )  # fmt: skip
    named = labeler.with_labels({"car": "", "maker": ""}, demonstrations=CARS)
    spans = (Span(0, 1, "car"), Span(2, 3, "maker"))
    answer = named.writer.codec.encode(("Golf", "by", "VW"), spans)
    assert named.answerer.writer.codec.parse(answer, ("Golf", "by", "VW")).spans == spans
    old = labeler.writer.codec.encode(("Golf", "by", "VW"), (Span(0, 1, "PER"),))
    assert named.answerer.writer.codec.parse(old, ("Golf", "by", "VW")).spans == ()
    found = named.predict(["a Golf by VW in London", "Toyota sells the Golf"])
    labels = {span.label for prediction in found for span in prediction.spans}
    assert labels <= {"car", "maker"}
    assert set().union(*(one.tags for one in found)) <= {"O", "B-car", "I-car", "B-maker", "I-maker"}
    if decoding == "constrained":
        assert labels or name == "pairs"


def test_spans_of_demonstrations_may_have_any_order(tiny_writer_folder):
    (toyota, _) = CARS
    swapped = [replace(toyota, spans=toyota.spans[::-1])]
    labeler = build(tiny_writer_folder)
    one, other = (prompt_of(labeler.with_labels(demonstrations=pool)) for pool in ([toyota], swapped))
    assert one == other


def test_demonstrations_alone_name_their_labels(tiny_writer_folder, cars):
    (cars.parent / "labels.toml").write_text('car = "a vehicle"', encoding="utf-8")
    folder = cars.rename(cars.parent / "train.conll").parent
    named = build(tiny_writer_folder).with_labels(demonstrations=folder)
    assert named.config.known_labels == {"car": "a vehicle", "maker": ""}
    assert "- car: a vehicle\n- maker\n" in prompt_of(named)


@pytest.mark.parametrize("how", ["random", "fixed", "stratified", "bm25"])
def test_a_named_labeler_is_saved_with_its_demonstrations(tiny_writer_folder, tmp_path, how):
    labeler = build(tiny_writer_folder, f"generative.demonstrations={how}", "generative.k=1")
    named = labeler.with_labels(["car", "maker: a firm"], demonstrations=CARS)
    named.save_pretrained(tmp_path)
    loaded = GenerativeLabeler.from_pretrained(tmp_path, device="cpu", precision="fp32")
    assert loaded.config == named.config
    for text in ("the Golf is old", "Toyota sells"):
        assert prompt_of(loaded, text) == prompt_of(named, text)
    assert [p.to_dict() for p in loaded.predict("the Golf")] == [
        p.to_dict() for p in named.predict("the Golf")
    ]
    # It still takes labels.
    assert loaded.with_labels(["ship"], demonstrations=[Example(("Titanic",), (Span(0, 1, "ship"),))])


def test_demonstrations_are_retrieved_from_the_given_pool(tiny_writer_folder):
    labeler = build(tiny_writer_folder, "generative.demonstrations=bm25", "generative.k=1")
    labeler.predict("the fox in London")  # its own index is built
    named = labeler.with_labels(["car", "maker"], demonstrations=CARS)
    assert "Beetle" in prompt_of(named, "an old Beetle")
    assert "Corolla" in prompt_of(named, "Toyota in London")
    assert prompt_of(named, "Ada was born in London").count("born") == 1


def test_own_demonstrations_remain_for_a_part_of_the_labels(tiny_writer_folder):
    named = build(tiny_writer_folder, "generative.k=3").with_labels("PER: a human being")
    shown = prompt_of(named)
    assert "[Ada | PER] was born in London" in shown
    assert "LOC" not in shown


def test_new_labels_without_demonstrations_are_only_listed(tiny_writer_folder, caplog):
    with caplog.at_level(logging.WARNING, "lookboth"):
        named = build(tiny_writer_folder).with_labels(["PER", "car"])
    assert "no demonstrations for the labels PER, car" in caplog.text
    shown = prompt_of(named)
    assert "- PER\n- car\n" in shown
    assert "Ada" not in shown


def test_spans_of_labels_that_are_not_named_are_left_out_and_reported(tiny_writer_folder, caplog):
    with caplog.at_level(logging.WARNING, "lookboth"):
        named = build(tiny_writer_folder).with_labels(["car"], demonstrations=CARS)
    assert "spans of maker are left out" in caplog.text
    assert "Toyota sells the [Corolla | car]" in prompt_of(named)
    # The demonstrations count as annotated with the named labels only.
    assert named.with_labels(["maker"]).demonstrations.pool == []


@pytest.mark.parametrize(
    ("overrides", "labels", "demonstrations", "error", "message"),
    [
        ((), ["ship"], CARS, ConfigError, "no span has one of the labels ship; found: car, maker"),
        ((), None, [], DataError, "0 sentences without a labeled span"),
        ((), None, "nowhere.conll", DataError, "nowhere.conll"),
        ((), None, [*CARS, ("a", "Golf")], DataError, r"demonstrations\[2\] is a tuple"),
        ((), None, [Example(("a", "Golf"), (Span(1, 3, "car"),))], DataError, "outside the 2 words"),
        (
            (),
            None,
            [Example(("a", "Golf"), (Span(0, 2, "car"), Span(1, 2, "car")))],
            DataError,
            r"the span \(1, 2, 'car'\) overlaps",
        ),
        ((), [], CARS, ConfigError, "0 labels are named"),
        ((), ["O"], CARS, ConfigError, "tag of words without label"),
        (("generative.k=0",), ["car"], CARS, ConfigError, "trained with generative.k = 0"),
        (("generative.instruction=false",), ["car"], None, ConfigError, "Name some: --demonstrations"),
        (("generative.instruction='Mark it.'",), ["car"], None, ConfigError, "Name some: --demonstrations"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(
    tiny_writer_folder, overrides, labels, demonstrations, error, message
):
    with pytest.raises(error, match=message):
        build(tiny_writer_folder, *overrides).with_labels(labels, demonstrations=demonstrations)


def test_a_labeler_with_a_head_reads_no_demonstrations(cars):
    with pytest.raises(ModelError, match="only generative labelers read them"):
        open_labeler(demonstrations=cars)
    with pytest.raises(ModelError, match="only generative labelers read them"):
        evaluate_on(str(cars), demonstrations=str(cars))


def test_a_saved_labeler_is_asked_for_new_labels(tiny_writer_folder, cars, tmp_path, caplog):
    build(tiny_writer_folder, "generative.max_answer_tokens=16").save_pretrained(tmp_path / "old")
    labeler = open_labeler(tmp_path / "old", labels="car: a vehicle", demonstrations=str(cars))
    assert "- car: a vehicle" in prompt_of(labeler)
    out = tmp_path / "run"
    with caplog.at_level(logging.WARNING, "lookboth"):
        found = evaluate_on(
            f"{cars}:test", str(tmp_path / "old"), labels="car, maker", demonstrations=str(cars), out=out
        )
    assert "2 of 2 texts are also demonstrations" in caplog.text
    assert set(found.scores.per_label) == {"car", "maker"}
    # Without labels it finds those of its training, whatever the data has.
    assert set(evaluate_on(f"{cars}:test", str(tmp_path / "old")).predictions[0].tags) <= {
        "O", "B-PER", "I-PER", "B-LOC", "I-LOC",
    }  # fmt: skip
    said = fix_labels_to_folder(str(tmp_path / "old"), tmp_path / "new", demonstrations=str(cars))
    assert said.endswith("with the labels car, maker")
    assert "Corolla" in prompt_of(open_labeler(tmp_path / "new"))


def test_the_card_opens_the_labeler_as_it_can_be_opened(tiny_writer_folder, tmp_path):
    recipe = {"generative": {"pool": ["wnut17"]}}
    labeler = build(tiny_writer_folder, "generative.open_labels=true")
    labeler.config = replace(labeler.config, scores={"recipe": recipe})
    labeler.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "sentences of wnut17 (licence: CC BY 4.0), which were not trained on" in card
    code = card.partition("```python\n")[2].partition("```")[0]
    exec(code.replace("PATH OR HUB ID OF THIS FOLDER", str(tmp_path)), {})
    assert "trained for labels that are named in prediction" in inspect_model(str(tmp_path))
