import json

import pytest

from lookboth.data import ReadOptions
from lookboth.data.checks import check_data
from lookboth.errors import DataError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.conll").write_text(
        "EU\tB-ORG\nsaid\tO\n\nNew\tB-LOC\nYork\tI-LOC\n\nEU\tB-ORG\nsaid\tO\n"
    )
    (tmp_path / "dev.conll").write_text("EU\tB-org\nsaid\tO\n\nbad\tI-LOC\n")
    (tmp_path / "test.conll").write_text("New\tB-LOC\nYork\tI-LOC\n\nMarch\tB-DATE\n")
    return tmp_path


def by_kind(report):
    result = {}
    for problem in report.problems:
        place = problem.where.rsplit("/", 1)[1]
        result.setdefault(problem.kind, []).append((place, problem.fatal))
    return result


def test_everything_odd_is_found_with_its_place(folder):
    report = check_data([folder])
    assert by_kind(report) == {
        "ill-formed-tag": [("dev.conll:4", True)],
        "label-not-in-train": [("dev.conll:1", False), ("test.conll:4", False)],
        "label-case": [("dev.conll:1", False)],
        "duplicate": [("train.conll:7", False)],
        "duplicate-across-splits": [("dev.conll:1", False), ("test.conll:1", False)],
        "label-conflict": [("dev.conll:1", False)],
    }
    assert not report.ok
    assert check_data([folder], ReadOptions(repair=True)).ok


def test_duplicates_name_both_places(folder):
    report = check_data([folder])
    (across,) = [p for p in report.problems if p.where.endswith("test.conll:1")]
    assert f"{folder / 'train.conll'}:4 in train" in across.message


def test_counts(folder):
    train = check_data([folder]).splits[0]
    assert (train.num_sentences, train.num_words, train.num_spans, dict(train.labels)) == (
        3,
        6,
        3,
        {"ORG": 2, "LOC": 1},
    )


def test_a_mapping_names_the_splits_and_files_name_themselves(folder):
    files = [folder / "train.conll", folder / "dev.conll"]
    named = check_data({"train": files[0], "dev": files[1]})
    assert named == check_data(files)
    assert check_data(folder / "train.conll").ok


def test_the_report_reads_as_text(folder):
    text = check_data([folder]).describe(num_shown=1)
    assert "3 sentences, 6 words, 3 spans: ORG 2, LOC 1" in text
    assert "error: ill-formed-tag (1)" in text
    assert (
        "dev.conll:4: tag 'I-LOC' follows 'O'; IOB2 spans start with 'B-' [--repair: read as 'B-LOC']" in text
    )
    assert "... and 1 more" in text
    assert text.index("error: ") < text.index("warning: ")
    assert text.endswith(
        "Errors: 1, warnings: 7. Fix the lines or pass --repair (in a recipe: data.repair = true)."
    )


def test_sources_name_splits_and_parts_of_them_as_elsewhere(folder):
    (report,) = (check_data([f"{folder / 'dev.conll'}:dev"]).splits,)
    assert [(s.split, s.num_sentences) for s in report] == [("dev", 2)]
    assert [s.split for s in check_data(["wnut17:dev"]).splits] == ["dev"]
    assert [s.scheme for s in check_data(["banking77_cls:test[:5]"]).splits] == ["text"]
    repaired = check_data(["banking77_cls:test[:5]"], ReadOptions(repair=True))
    assert [s.scheme for s in repaired.splits] == ["text"]
    parts = check_data([f"{folder}:train[:2]", f"{folder}:train[2:]"])
    assert [(s.split, s.num_sentences) for s in parts.splits] == [("train[:2]", 2), ("train[2:]", 1)]
    assert by_kind(parts) == {"duplicate-across-splits": [("train.conll:7", False)]}
    named = check_data({"train": f"{folder}:test", "dev": f"{folder / 'train.conll'}:train"})
    assert [(s.split, s.num_sentences) for s in named.splits] == [("train", 2), ("dev", 3)]
    assert ("label-not-in-train", "train.conll:1") in [
        (p.kind, p.where.rsplit("/", 1)[1]) for p in named.problems
    ]


def test_clean_data_say_so():
    report = check_data(["wnut17"])
    assert report.ok
    assert [s.num_sentences for s in report.splits] == [3394, 1009, 1287]
    assert report.describe().endswith("Ready to train.")


def test_one_word_labels_schemes_and_splits_without_labels(tmp_path):
    (tmp_path / "train.conll").write_text("a\tB-X\n" * 30)
    (tmp_path / "dev.conll").write_text("a\tU-X\n")
    (tmp_path / "test.conll").write_text("b\tO\n")
    kinds = {problem.kind for problem in check_data([tmp_path]).problems}
    assert kinds == {"one-word-label", "scheme", "no-labels"}


def test_an_empty_file_and_a_missing_one(tmp_path):
    (tmp_path / "train.conll").write_text("# only = comments\n")
    assert not check_data([tmp_path]).ok
    with pytest.raises(DataError, match="no such file"):
        check_data([tmp_path / "dev.conll"])


@pytest.mark.parametrize("other", ["Creative Work", "creative  work", "Creative_work", "creative\u00a0work"])
def test_labels_that_differ_in_case_or_blanks_are_named_with_their_counts(tmp_path, other):
    def record(label):
        return json.dumps({"text": "Ada", "spans": [{"start": 0, "end": 3, "label": label}]}) + "\n"

    file = tmp_path / "train.jsonl"
    file.write_text(record("creative work") * 2 + record(other), encoding="utf-8")
    report = check_data(file)
    (found,) = [problem for problem in report.problems if problem.kind == "label-case"]
    assert found.where.endswith("train.jsonl:3")
    assert f"labels 'creative work' (2) and {other!r} (1) differ only in letter case, blanks" in found.message
    assert f'data.label_map = {{ "{other}" = "creative work" }}' in found.message
    assert report.ok
    assert report.splits[0].labels == {"creative work": 2, other: 1}
