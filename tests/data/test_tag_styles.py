"""Every spelling of tags gives the spans that its authors meant, or is refused with what to type."""

import os

import pytest

from lookboth.config.recipe_files import parse_config
from lookboth.data.problems import require_clean
from lookboth.data.readers import ReadOptions, read_dataset, read_split
from lookboth.data.sources import read_source
from lookboth.data.split_finding import BUILTIN_FOLDER
from lookboth.errors import DataError
from lookboth.training.splits import read_splits
from lookboth.types import Span

PEOPLE = (Span(0, 2, "PER"), Span(3, 4, "LOC"))


def read(folder, tags, **options):
    path = folder / "a.conll"
    path.write_text(
        "".join(f"w{i}\t{tag}\n" if tag else "\n" for i, tag in enumerate(tags)), encoding="utf-8"
    )
    return read_dataset(path, ReadOptions(**options))


def refusal(dataset):
    assert dataset.examples == ()
    with pytest.raises(DataError) as caught:
        require_clean(dataset)
    return str(caught.value)


@pytest.mark.parametrize(
    "tags",
    [
        "B-PER I-PER O B-LOC",
        "I-PER I-PER O I-LOC",
        "B-PER E-PER O S-LOC",
        "B-PER L-PER O U-LOC",
        "B-PER E-PER O W-LOC",
        "PER-B PER-I O LOC-B",
        "PER_B PER_E O LOC_S",
        "PER.B PER.I O LOC.B",
        "B_PER I_PER O B_LOC",
        "B:PER I:PER O B:LOC",
        "B/PER I/PER O B/LOC",
        "b-PER i-PER o b-LOC",
        "B-PER-B I-PER-I O B-LOC-B",
        "B-PER I-PER 0 B-LOC",
        "B-PER I-PER _ B-LOC",
        "PER-B PER-I - LOC-B",
        "BEGIN-PER INSIDE-PER O BEGIN-LOC",
        "Begin_PER End_PER Outside Single_LOC",
        "I-PER E-PER O E-LOC",
        "PER_I PER_E O LOC_E",
        "(PER* *) * (LOC)",
        "(PER* *) * (LOC*)",
    ],
)
def test_every_style_gives_the_spans_it_spells(tmp_path, tags):
    dataset = read(tmp_path, tags.split())
    require_clean(dataset)
    assert dataset.examples[0].spans == PEOPLE


def test_spans_of_middle_tags_stay_whole(tmp_path):
    dataset = read(tmp_path, ["B-ORG", *["M-ORG"] * 8, "E-ORG", "O", "S-LOC"])
    assert (dataset.scheme, dataset.examples[0].spans) == ("IOBES", (Span(0, 10, "ORG"), Span(11, 12, "LOC")))


def test_ends_alone_separate_spans_that_touch(tmp_path):
    spans = read(tmp_path, ["I-PER", "E-PER", "E-PER", "I-LOC", "E-LOC"]).examples[0].spans
    assert spans == (Span(0, 2, "PER"), Span(2, 3, "PER"), Span(3, 5, "LOC"))
    assert read(tmp_path, ["I-PER", "E-PER"], scheme="IOBES").problems[0].fatal


def test_positions_without_labels_give_spans_of_one_label(tmp_path):
    for tags in ("B I O B", "b i o b", "B E O S"):
        assert read(tmp_path, tags.split()).examples[0].spans == (Span(0, 2, "ENTITY"), Span(3, 4, "ENTITY"))


def test_labels_that_look_like_positions_are_left_alone(tmp_path):
    hepatitis = read(tmp_path, ["B-hepatitis-B", "I-hepatitis-B", "O", "B-flu"])
    assert hepatitis.examples[0].spans == (Span(0, 2, "hepatitis-B"), Span(3, 4, "flu"))
    assert read(tmp_path, ["B-PER.NAM", "I-PER.NAM"]).examples[0].spans == (Span(0, 2, "PER.NAM"),)
    assert read(tmp_path, ["B-A|B", "O"]).examples[0].spans == (Span(0, 1, "A|B"),)


def test_tags_without_positions_are_read_only_as_a_user_says(tmp_path):
    tags = ["PER", "PER", "O", "LOC", "PER"]
    message = refusal(read(tmp_path, tags))
    assert "a.conll:1: tags such as 'PER', 'LOC'" in message
    assert "--scheme IO" in message
    assert "--scheme plain" in message
    assert read(tmp_path, tags, scheme="IO").examples[0].spans == (*PEOPLE, Span(4, 5, "PER"))
    assert len(read(tmp_path, tags, scheme="plain").examples[0].spans) == 4
    assert read(tmp_path, ["PER", "PER", "0", "LOC"], scheme="IO").examples[0].spans == PEOPLE
    assert read(tmp_path, ["I-PER", "I-PER", "O", "I-LOC"], scheme="IO").examples[0].spans == PEOPLE
    assert "Leave --scheme out" in refusal(read(tmp_path, ["B-PER", "I-PER"], scheme="IO"))


def test_a_head_that_labels_every_word_says_what_tags_without_positions_are(tmp_path):
    read(tmp_path, ["DET", "NOUN"])
    path = str(tmp_path / "a.conll")
    assert read_source(path, "train", ReadOptions(head="plain")).scheme == "plain"
    with pytest.raises(DataError, match="--scheme plain"):
        read_source(path, "train", ReadOptions(head="IOB2"))
    with pytest.raises(DataError, match=r"one label per word .* IOB2 spans"):
        read_source(path, "train", ReadOptions(head="IOB2", scheme="plain"))


def test_a_training_reads_files_for_its_head(tmp_path):
    read(tmp_path, ["PER", "PER", "O", "LOC"])
    data = {"train": str(tmp_path / "a.conll"), "dev": str(tmp_path / "a.conll")}

    def spans(**settings):
        config = parse_config({"data": {**data, **settings.pop("reading", {})}, **settings})
        return read_splits(config).train[0].spans

    with pytest.raises(DataError, match="--scheme IO"):
        spans()
    assert spans(reading={"scheme": "IO"}) == PEOPLE
    assert len(spans(scheme="plain")) == 3


def test_built_in_part_of_speech_data_say_what_they_are():
    assert read_split("ud_en_atis_pos", "dev").scheme == "plain"
    assert read_split(os.path.relpath(BUILTIN_FOLDER / "ud_en_atis_pos"), "dev").scheme == "plain"
    with pytest.raises(DataError, match="scheme=plain"):
        read_source("ud_en_atis_pos", "dev", ReadOptions(head="IOB2"))


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        (["B-ORG", "I-ORG", "I-ORG|B-GPE", "O"], "a.conll:3: the cell 'I-ORG|B-GPE' holds several tags"),
        (["B-PER-B", "I-PER-B"], "--scheme IOB2"),
        (["_", "_"], "holds no labels but '_'. Name the column of the tags"),
        (["0.9", "0.25"], "holds no labels but '0.25' and '0.9'"),
        (["-", "O"], "holds no labels but '-' and 'O'"),
        (["B-PER", "PER", "LOC"], "tags such as 'PER', 'LOC'"),
        (["M-PER", "I-PER", "B-PER"], "'M-PER' is not a valid IOB"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path, tags, words):
    dataset = read(tmp_path, tags)
    with pytest.raises(DataError) as caught:
        require_clean(dataset)
    assert words in str(caught.value)


def test_a_label_with_a_letter_at_its_end_is_read_by_the_named_scheme(tmp_path):
    tags = ["B-PER-B", "I-PER-B"]
    assert read(tmp_path, tags, scheme="IOB2").examples[0].spans == (Span(0, 2, "PER-B"),)


def test_an_ill_formed_tag_is_shown_as_the_file_spells_it(tmp_path):
    dataset = read(tmp_path, ["O", "PER-I", "LOC-B"])
    assert str(dataset.problems[0]).endswith("the file spells it 'PER-I'")


def test_blanks_around_tags_are_no_part_of_them(tmp_path):
    assert read(tmp_path, [" B-PER", "I-PER\u00a0", " O", "B-LOC "]).examples[0].spans == PEOPLE
