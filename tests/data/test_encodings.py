"""Files in other encodings are read when their encoding is named, and refused with a proposal otherwise."""

import json

import pytest

from lookboth.data.conversion.converting import convert
from lookboth.data.problems import require_clean
from lookboth.data.readers import ReadOptions, read_dataset
from lookboth.errors import ConfigError, DataError

TEXTS = {
    "cp1252": "Müller B-PER\nläuft O\nüber O\ndie O\nStraße O\n",
    "cp1250": "Łódź B-LOC\njest O\npiękna O\nświęto O\n",
    "cp1251": "Москва B-LOC\nбольшой O\nгород O\n",
    "koi8-r": "Москва B-LOC\nбольшой O\nгород O\n",
    "big5": "台北 B-LOC\n是 O\n首都 O\n",
    "shift_jis": "東京 B-LOC\nは O\n首都 O\nです O\n",
    "utf-16": "Zoé B-PER\nran O\n",
    "utf-16-be": "Zoé B-PER\nran O\n",
    "utf-32": "Zoé B-PER\nran O\n",
    "utf-8": "\ufeffZoé B-PER\nran O\n",
}


@pytest.fixture
def write(tmp_path):
    def write(content, name="a.conll"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def words(dataset):
    require_clean(dataset)
    return [word for example in dataset.examples for word in example.words]


@pytest.mark.parametrize("encoding", TEXTS)
def test_a_named_encoding_is_read(write, encoding):
    text = TEXTS[encoding]
    dataset = read_dataset(write(text.encode(encoding)), ReadOptions(encoding=encoding))
    assert words(dataset) == [line.split()[0] for line in text.removeprefix("\ufeff").splitlines()]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8"])
def test_a_byte_order_mark_names_the_encoding(write, encoding):
    assert words(read_dataset(write(TEXTS[encoding].encode(encoding)))) == ["Zoé", "ran"]


@pytest.mark.parametrize(
    "encoding", ["cp1252", "cp1250", "cp1251", "koi8_r", "big5", "shift_jis", "utf-16-be", "utf-16-le"]
)
@pytest.mark.parametrize("repair", [False, True])
def test_another_encoding_is_proposed_and_never_repaired(write, encoding, repair):
    text = TEXTS.get(encoding, TEXTS.get(encoding.replace("_", "-"), TEXTS["utf-16"]))
    dataset = read_dataset(write(text.encode(encoding)), ReadOptions(repair=repair))
    (problem,) = dataset.problems
    assert (problem.kind, problem.fatal, problem.repaired, len(dataset.examples)) == ("encoding", True, "", 0)
    assert f"type --encoding {encoding} (in a recipe" in str(problem)
    with pytest.raises(DataError, match="Read the file as the message advises"):
        require_clean(dataset)


def test_one_wrong_byte_among_utf8_is_named_and_replaced_only_by_name(write):
    path = write("Zoé B-PER\nran O\nà O\n".encode() + b"caf\xe9 O\n")
    (problem,) = read_dataset(path).problems
    assert str(problem).startswith(f"{path}:4: byte 0xe9 is not UTF-8. 2 other lines")
    replaced = read_dataset(path, ReadOptions(encoding="utf-8-replace"))
    assert words(replaced) == ["Zoé", "ran", "à", "caf\ufffd"]


def test_what_is_no_text_or_not_in_the_named_encoding_is_refused(write):
    path = write("Müller B-PER\n".encode("cp1252"))
    assert "is not ascii" in str(read_dataset(path, ReadOptions(encoding="ascii")).problems[0])
    with pytest.raises(ConfigError, match=r"--encoding utf-9: no such encoding.*utf-8-replace"):
        read_dataset(path, ReadOptions(encoding="utf-9"))
    with pytest.raises(ConfigError, match="no such encoding"):
        read_dataset(path, ReadOptions(encoding="hex"))


def test_every_format_and_the_converters_read_it(write, tmp_path):
    record = json.dumps({"text": "Zoé ran", "label": [[0, 3, "PER"]]}, ensure_ascii=False).encode("cp1252")
    spans = json.dumps({"text": "Zoé ran", "spans": []}, ensure_ascii=False).encode("cp1252")
    options = ReadOptions(encoding="cp1252")
    assert words(read_dataset(write(spans, "a.jsonl"), options)) == ["Zoé", "ran"]
    texts = ReadOptions(task="classification", encoding="cp1252")
    for name, content in (("a.csv", "text,label\nZoé ran,x\n"), ("a.tsv", "x\tZoé ran\n")):
        assert words(read_dataset(write(content.encode("cp1252"), name), texts)) == ["Zoé", "ran"]
    with pytest.raises(DataError, match="--encoding cp1252"):
        convert("doccano", write(record, "d.jsonl"), tmp_path / "out.conll")
    convert("doccano", tmp_path / "d.jsonl", tmp_path / "out.conll", encoding="cp1252")
    assert (tmp_path / "out.conll").read_text(encoding="utf-8") == "Zoé\tB-PER\nran\tO\n\n"
