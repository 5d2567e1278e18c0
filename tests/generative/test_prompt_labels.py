"""Labels of training prompts: those of the data of a text, in random order, with other names."""

import pytest

from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError
from lookboth.evaluation.runfile import read_run
from lookboth.generative.demonstrations import Demonstrations
from lookboth.generative.generative_building import build_generative
from lookboth.generative.generative_labeler import GenerativeLabeler
from lookboth.generative.training_examples import TrainingExamples
from lookboth.training.training_runs import train
from lookboth.types import Example, Span

PEOPLE, CARS = ("LOC", "PER: a human being"), ("car", "maker: a firm")
POOL = [
    *(Example((name, "in", "Rome"), (Span(0, 1, "PER"), Span(2, 3, "LOC")), label_set=PEOPLE) for name in "ABC"),
    *(Example((name, "builds", "Golf"), (Span(0, 1, "maker"), Span(2, 3, "car")), label_set=CARS) for name in "XYZ"),
]  # fmt: skip


def examples_of(folder, *overrides, epochs=8):
    config = parse_config(
        {
            "model": str(folder), "method": "sift", "data": {"train": "x"}, "training": {"precision": "fp32"},
            "generative": {"k": 1, "chat": False, "open_labels": True, "max_tokens": 400},
        },
        overrides,
    )  # fmt: skip
    descriptions = {"PER": "a human being", "maker": "a firm"}
    labels = ["LOC", "PER", "car", "maker"]
    labeler = build_generative(
        config, labels=labels, pool=POOL, seed=0, device="cpu", descriptions=descriptions
    )
    chosen = Demonstrations(POOL, labeler.config.generative, seed=0)
    examples = TrainingExamples(labeler.writer, chosen, num_epochs=epochs, loss="multi")
    return labeler, [labeler.tokenizer.decode(example.input_ids) for example in examples], examples


def test_a_prompt_has_labels_and_demonstrations_of_its_own_data(tiny_writer_folder):
    _, texts, _ = examples_of(tiny_writer_folder)
    for number, text in enumerate(texts):
        of_people = number % len(POOL) < 3
        assert ("- LOC\n- PER: a human being\n" in text) == of_people
        assert ("- car\n- maker: a firm\n" in text) != of_people
        assert ("Golf" in text) != of_people
        assert text.count("Rome") + text.count("Golf") == 4  # text and answer, twice


def test_labels_are_shuffled_per_prompt(tiny_writer_folder):
    _, texts, again = examples_of(tiny_writer_folder, "generative.shuffle_labels=true")
    people = [text for number, text in enumerate(texts) if number % len(POOL) < 3]
    orders = [text.index("- LOC\n") < text.index("- PER: a human being\n") for text in people]
    assert 4 < sum(orders) < len(orders) - 4
    # A resumed training reads the same prompts.
    assert [example.input_ids for example in again] == [example.input_ids for example in again]


def test_renamed_labels_are_consistent_within_a_prompt(tiny_writer_folder):
    _, texts, _ = examples_of(
        tiny_writer_folder, "generative.rename_labels=1", "generative.shuffle_labels=true"
    )
    names = set()
    for text in texts:
        assert not any(label in text for label in ("PER", "LOC", "maker]", "car]"))
        (described,) = (line for line in text.split("\n") if line.startswith("- ") and ": " in line)
        name = described.removeprefix("- ").partition(":")[0]
        names.add(name)
        assert text.count(f"| {name}]") == 2  # in the demonstration and in the answer
    assert len(names) > 5
    half, _ = examples_of(tiny_writer_folder, "generative.rename_labels=0.5")[1:]
    assert 8 < sum("TYPE_" in text for text in half) < len(half) - 8


def test_a_label_that_nothing_explains_keeps_its_name(tiny_writer_folder):
    _, texts, _ = examples_of(tiny_writer_folder, "generative.rename_labels=1", "generative.k=0")
    for text in texts:
        assert ("LOC" in text) != ("car" in text)
        assert "PER" not in text
        assert "maker" not in text


def test_an_open_labeler_answers_for_the_labels_of_each_text(tiny_writer_folder, tmp_path):
    labeler, _, _ = examples_of(tiny_writer_folder, epochs=1)
    assert labeler.is_open
    ships = Example(("the", "Titanic"), label_set=("ship: it floats",))
    texts = [
        Example(("D", "in", "Rome"), label_set=PEOPLE),
        Example(("V", "builds", "Golf"), label_set=CARS),
        ships,
    ]
    found = list(labeler.label_chunk(texts, batch_tokens=None))
    allowed = [{"PER", "LOC"}, {"car", "maker"}, {"ship"}]
    for prediction, labels in zip(found, allowed, strict=True):
        assert {span.label for span in prediction.spans} <= labels
    labeler.save_pretrained(tmp_path)
    loaded = GenerativeLabeler.from_pretrained(tmp_path, device="cpu", precision="fp32", merge=False)
    assert list(loaded.label_chunk(texts, batch_tokens=None)) == found
    assert len(loaded.demonstrations.pool) == 2  # one per data set
    assert loaded.predict("D in Rome") == labeler.predict("D in Rome")


def write(folder, name, who, label):
    for split in ("train", "dev", "test"):
        place = folder / name
        place.mkdir(exist_ok=True)
        rows = [f"{who}{number} B-{label}\nis O\n{split} O\n" for number in range(3)]
        (place / f"{split}.conll").write_text("\n".join(rows), encoding="utf-8")
    return str(folder / name)


def test_a_domain_left_out_is_labeled_with_its_own_labels(tiny_writer_folder, tmp_path):
    old, other, new = (
        write(tmp_path, *row)
        for row in (("old", "Ada", "PER"), ("other", "Rome", "LOC"), ("new", "Golf", "car"))
    )
    recipe = {
        "model": str(tiny_writer_folder), "method": "sift",
        "data": {"train": [old, other], "dev": [old], "test": [new]},
        "generative": {
            "k": 1, "chat": False, "open_labels": True, "pool": new, "rename_labels": 0.5, "shuffle_labels": True,
        },
        "adapter": {"rank": 2}, "training": {"precision": "fp32", "epochs": 1, "batch_tokens": 1024},
        "labels": {"car": "a vehicle"},
    }  # fmt: skip
    (run,) = train(parse_config(recipe), tmp_path / "run")
    scores = read_run(run.folder).scores
    assert set(scores[f"test:{new}"]["per_label"]) <= {"car"}
    assert {s.label for p in run.tests[new].predictions for s in p.spans} <= {"car"}
    view = run.labeler._view(("car: a vehicle",))
    assert {e.words[2] for e in view.demonstrations.pool} == {"train"}
    assert {e.words[0][:4] for e in view.demonstrations.pool} == {"Golf"}
    saved = GenerativeLabeler.from_pretrained(run.folder / "labeler", device="cpu", precision="fp32")
    assert saved.config.generative.pool == ()
    assert saved.config.known_labels == {"LOC": "", "PER": "", "car": "a vehicle"}
    with pytest.raises(ConfigError, match="this is dev or test data of the recipe"):
        train(parse_config(recipe, [f"generative.pool='{new}:test'"]), tmp_path / "leak")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=icl", "generative.shuffle_labels=true"], "nothing is trained"),
        (["method=icl", "generative.rename_labels=0.5"], "nothing is trained"),
        (["generative.k=0", "generative.pool=wnut17"], "its prompts have no demonstrations"),
        (["method=instruction_tuning", "generative.pool=wnut17"], "its prompts have no demonstrations"),
        (["labels.PER='a human being'"], "set generative.open_labels = true"),
        (["generative.instruction=false", "generative.shuffle_labels=true"], "there is no list of labels"),
    ],
)
def test_keys_that_would_do_nothing_are_refused(tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        train(
            parse_config({"model": "x", "method": "sift", "data": {"train": "wnut17"}}, overrides), tmp_path
        )
