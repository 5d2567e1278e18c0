"""Layouts of published corpora and annotation tools: read straight, converted, and every loss is named."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lookboth.cli import app
from lookboth.data.checks import check_data
from lookboth.data.conversion.convert_options import ConvertOptions
from lookboth.data.conversion.converting import convert
from lookboth.data.conversion.kinds import KINDS, recognize
from lookboth.data.readers import ReadOptions, read_dataset, read_split
from lookboth.errors import DataError

PUBTATOR = (
    "12|t|Aspirin in rats\n12|a|It cured gout. Aspirin-induced ulcers.\n"
    "12\t0\t7\tAspirin\tChemical\tD001\n12\t25\t29\tgout\tDisease\tD006\n12\tCID\tD001\tD006\n\n"
    "13|t|Two\n13|a|Lead kills\n13\t4\t8\tLead\tChemical\t-1\n"
)
PUBTATOR_SPANS = [[("Aspirin", "Chemical")], [("gout", "Disease")], [], [("Lead", "Chemical")]]
BIOC = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE collection SYSTEM "BioC.dtd">
<collection><source>x</source><document><id>1</id>
<passage><offset>0</offset><text>Aspirin in rats</text>
<annotation id="1"><infon key="type">Chemical</infon><location offset="0" length="7"/><text>Aspirin</text></annotation>
</passage>
<passage><offset>16</offset>
<sentence><offset>16</offset><text>It cured gout.</text>
<annotation id="2"><infon key="type">Disease</infon><location offset="25" length="4"/><text>gout</text></annotation>
</sentence></passage><relation id="R"/></document></collection>
"""
BIOC_DOCUMENT = {
    "id": "1",
    "infons": {},
    "passages": [
        {
            "offset": 0,
            "infons": {"type": "title"},
            "text": "Aspirin in rats",
            "sentences": [],
            "annotations": [
                {
                    "id": "1",
                    "infons": {"identifier": None, "type": "Chemical"},
                    "text": "Aspirin",
                    "locations": [{"offset": 0, "length": 7}],
                }
            ],
            "relations": [],
        },
        {
            "offset": 16,
            "sentences": [
                {
                    "offset": 16,
                    "text": "It cured gout.",
                    "annotations": [
                        {
                            "id": "2",
                            "infons": {"type": "Disease"},
                            "text": "gout",
                            "locations": [{"offset": 25, "length": 4}],
                        }
                    ],
                }
            ],
        },
    ],
    "relations": [{"id": "R"}],
}
BIOC_JSON = json.dumps({"source": "x", "infons": {}, "documents": [BIOC_DOCUMENT]})
BIOC_SPANS = [[("Aspirin", "Chemical")], [("gout", "Disease")]]
WEBANNO = (
    "#FORMAT=WebAnno TSV 3.3\n#T_SP=core.ner.type.NamedEntity|identifier|value\n#T_SP=core.Chunk|chunkValue\n\n\n"
    "#Text=Ann Lee saw A|B .\n"
    "1-1\t0-3\tAnn\t*[1]\tPER[1]\tNC\t\n1-2\t4-7\tLee\t*[1]\tPER[1]\t_\t\n1-3\t8-11\tsaw\t_\t_\t_\t\n"
    "1-4\t12-15\tA|B\t*\tORG\\|X\\_y\t_\t\n1-5\t16-17\t.\t_\t_\t_\t\n\n"
)
ASTE = "Food was good but staff rude####[([0], [2], 'POS'), ([4], [5], 'NEG')]\nNothing here####[]\n"
TBSA = "The pad thai rocks####The=O pad=T-POS thai=T-POS rocks=O\n"
TBSA_PEELED = "a b c d####a=T-POS b=TT-NEG c=O d=O####a=O b=O c=S d=SS\n"
TERMS = "nice pad thai####nice=O pad=T thai=T\n"
ATIS = "BOS from boston to dallas EOS\tO O B-from O B-to atis_flight\n"
SNIPS = {"Play": [{"data": [{"text": "play "}, {"text": "some jazz ", "entity": "genre"}, {"text": "now"}]}]}
NLU = {
    "intents": {"on": {"utterances": [{"data": [{"text": "the "}, {"text": "lamp", "slot_name": "what"}]}]}},
    "entities": {"what": {"data": [{"value": "lamp", "synonyms": []}]}},
}
RASA_YAML = """version: "3.1"
nlu:
- intent: book
  examples: |
    - to [Oslo](city) with [two]{"entity": "count", "value": "2"}
    - hello
- synonym: x
  examples: |
    - [no](entity)
- intent: leave
  examples:
  - text: |
      from [Bergen](city:bergen)
"""
CONLLU_WORDS = ("Ann", "Lee", "ran", "home")
MISC = {
    "brackets": ("Entity=(e1-person-1", "SpaceAfter=No|Entity=e1)", "_", "Entity=(e2-place-1)"),
    "tags": ("NE=B-person", "SpaceAfter=No|NE=I-person", "_", "NE=B-place"),
}
KAGGLE = """Sentence #,Sentence,POS,Tag
Sentence: 1,Ann Lee ran,"['NNP', 'NNP', 'VBD']","['B-PER', 'I-PER', 'O']"
Sentence: 2,"no , sir","['DT', ',', 'NN']","['O', 'O', 'O']"
"""
SPAN_ROWS = "text,entities\nin Oslo,\"[(3, 7, 'LOC')]\"\nno,[]\n"
RASA_MD = "## intent:book\n- to [Oslo](city)\n\n## synonym:x\n- [no](entity)\n## intent: other\n* bye\n"
FILES = {
    "pubtator": ("a.txt", PUBTATOR, "pubtator", PUBTATOR_SPANS),
    "pubtator titles": ("a.txt", "7|t|IL-2 here\n7\t0\t4\tIL-2\tGene\t1\n\n", "pubtator", [[("IL - 2", "Gene")]]),
    "bioc": ("a.xml", BIOC, "bioc", BIOC_SPANS),
    "bioc json": ("a.json", BIOC_JSON, "bioc-json", BIOC_SPANS),
    "bioc document": ("a.json", json.dumps(BIOC_DOCUMENT, indent=1), "bioc-json", BIOC_SPANS),
    "bioc documents": ("a.jsonl", 2 * (json.dumps(BIOC_DOCUMENT) + "\n"), "bioc-json", 2 * BIOC_SPANS),
    "pubtator 3": ("a.json", json.dumps({"PubTator3": [BIOC_DOCUMENT]}), "bioc-json", BIOC_SPANS),
    "list of collections": ("a.json", f"[{BIOC_JSON}, {BIOC_JSON}]", "bioc-json", 2 * BIOC_SPANS),
    "webanno": ("a.tsv", WEBANNO, "webanno", [[("Ann Lee", "PER"), ("A|B", "ORG|X_y")]]),
    "aste": ("a.txt", ASTE, "aste", [[("Food", "POS"), ("staff", "NEG")], []]),
    "tbsa": ("a.txt", TBSA, "aste", [[("pad thai", "POS")]]),
    "tbsa numbered": ("a.txt", TBSA_PEELED, "aste", [[("a", "POS"), ("b", "NEG")]]),
    "terms": ("a.txt", TERMS, "aste", [[("pad thai", "aspect")]]),
    "atis": ("a.iob", ATIS, "atis", [[("boston", "from"), ("dallas", "to")]]),
    "snips": ("a.json", json.dumps(SNIPS), "snips", [[("some jazz", "genre")]]),
    "snips-nlu": ("a.json", json.dumps(NLU, indent=1), "snips", [[("lamp", "what")]]),
    "rasa yaml": ("nlu.yml", RASA_YAML, "rasa-text", [[("Oslo", "city"), ("two", "count")], [], [("Bergen", "city")]]),
    "kaggle rows": ("a.csv", KAGGLE, "row-table", [[("Ann Lee", "PER")], []]),
    "rows of strings": ("a.tsv", "id\ttokens\tslots\n1\tto oslo\tO B-city\n", "row-table", [[("oslo", "city")]]),
    "rows of numpy": ("a.csv", "text;tags\n\"a b\";\"['O' 'B-X']\"\n", "row-table", [[("b", "X")]]),
    "rows of spans": ("a.csv", SPAN_ROWS, "row-table", [[("Oslo", "LOC")], []]),
    "rasa markdown": ("nlu.md", RASA_MD, "rasa-text", [[("Oslo", "city")], []]),
}  # fmt: skip


def write(folder, name, content):
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def spans_of(dataset):
    return [[(" ".join(e.words[s.start : s.end]), s.label) for s in e.spans] for e in dataset.examples]


def messages(dataset, *, fatal):
    return [problem.message for problem in dataset.problems if problem.fatal is fatal]


@pytest.mark.parametrize("case", FILES)
def test_a_layout_is_recognized_read_and_converted(case, tmp_path):
    name, content, kind, spans = FILES[case]
    path = write(tmp_path, name, content)
    assert recognize(path) == kind
    assert spans_of(read_dataset(path)) == spans, check_data([path]).describe()
    assert check_data([path]).ok
    convert(kind, path, tmp_path / "out.jsonl")
    assert spans_of(read_dataset(tmp_path / "out.jsonl")) == spans


def test_what_is_not_converted_is_counted(tmp_path):
    for name, content, said in (
        ("a.txt", PUBTATOR, "1 relations"),
        ("nlu.yml", RASA_YAML.replace('"value": "2"', '"role": "from"'), "roles and groups"),
        ("a.xml", BIOC, "1 relations"),
        ("a.json", BIOC_JSON, "1 relations"),
        ("b.txt", ASTE, "2 opinion terms"),
        ("a.tsv", WEBANNO, "Chunk.chunkValue (1)"),
    ):
        found = messages(read_dataset(write(tmp_path, name, content)), fatal=False)
        assert len(found) == 1, found
        assert said in found[0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", PUBTATOR.replace("gout\tDis", "gouts\tDis"), "not 'gouts'"),
        ("a.txt", PUBTATOR.replace("25\t29", "25\t2999"), "outside the text"),
        ("a.txt", PUBTATOR + "14\t0\t1\tx\tY\n", "belongs to no document"),
        ("a.txt", PUBTATOR + "13\t0\t8\tTwo Lead\tPair\n", "overlaps"),
        ("a.xml", BIOC.replace('length="4"/>', 'length="4"/><location offset="2" length="1"/>'), "discontinuous"),
        ("a.xml", BIOC.replace('key="type">D', 'key="kind">D'), "has no infon 'type', only kind"),
        ("a.json", BIOC_JSON.replace('"length": 4', '"length": 400'), "outside the text"),
        ("a.json", BIOC_JSON.replace('{"type": "Disease"}', '{"kind": "D"}'), "has no infon 'type', only kind"),
        ("a.json", BIOC_JSON.replace('[{"offset": 25, "length": 4}]', '"25-29"'), "locations is not a list"),
        ("a.json", BIOC_JSON.replace('"It cured gout."', "7"), "the text 7 is not a string"),
        ("a.tsv", WEBANNO.replace("saw\t_\t_", "saw\t_\tPER[1]").replace("Lee\t*[1]\tPER[1]", "Lee\t_\t_"), "no gaps"),
        ("a.tsv", WEBANNO.replace("Lee\t*[1]\tPER[1]", "Lee\t*[1]|*[2]\tPER[1]|ORG[2]"), "overlaps"),
        ("a.tsv", WEBANNO.replace("1-5\t", "1-4.1\t12-13\tA\t*\tLOC\t_\n1-5\t"), "a part of the word 'A|B'"),
        ("a.tsv", WEBANNO.replace("1-5\t16", "five\t16"), "is not a token"),
        ("a.txt", ASTE.replace("[4]", "[4, 2]"), "discontinuous"),
        ("a.txt", ASTE.replace("[4]", "[99]"), "outside the sentence"),
        ("a.txt", ASTE.replace("'NEG')", "'NEG'"), "not a list of triplets"),
        ("a.iob", ATIS.replace(" atis_flight", ""), "6 words and 5 tags"),
        ("a.csv", KAGGLE.replace(", 'O']\"\nS", "]\"\nS"), "3 sentence but 2 tags"),
        ("nlu.yml", RASA_YAML.replace('"entity": "count", ', ""), "label None is not a name"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_error_with_its_place(name, content, said, tmp_path):
    dataset = read_dataset(write(tmp_path, name, content))
    fatal = messages(dataset, fatal=True)
    assert fatal, dataset.problems
    assert said in " ".join(fatal)
    assert not messages(read_dataset(tmp_path / name, ReadOptions(repair=True)), fatal=True)


def test_entities_of_xml_are_never_expanded(tmp_path):
    bomb = BIOC.replace('"BioC.dtd">', '"BioC.dtd" [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>')
    with pytest.raises(DataError, match=r"a.xml:2: <!ENTITY> is not allowed"):
        read_dataset(write(tmp_path, "a.xml", bomb))


def test_offsets_of_bytes_are_found_by_the_texts(tmp_path):
    text = PUBTATOR.replace("It cured", "Ät cürd").replace("25\t29", "26\t30")
    assert spans_of(read_dataset(write(tmp_path, "a.txt", text)))[1] == [("gout", "Disease")]


def test_layers_of_webanno_are_chosen_by_name(tmp_path):
    path = write(tmp_path, "a.tsv", WEBANNO)
    for named in ("Chunk", "chunkValue", "Chunk.chunkValue"):
        assert spans_of(read_dataset(path, ReadOptions(label_field=named))) == [[("Ann", "NC")]]
    with pytest.raises(
        DataError, match=r"there are NamedEntity\.identifier, NamedEntity\.value, Chunk\.chunkValue"
    ):
        read_dataset(path, ReadOptions(label_field="POS"))
    other = write(tmp_path, "b.tsv", WEBANNO.replace("NamedEntity", "Thing"))
    assert (
        "Thing.value (3 tokens), Chunk.chunkValue (1 tokens); name one"
        in messages(read_dataset(other), fatal=True)[0]
    )


def test_a_span_of_webanno_that_crosses_sentences_is_named(tmp_path):
    more = "#Text=too\n2-1\t20-23\ttoo\t*[1]\tPER[1]\t_\t\n"
    dataset = read_dataset(write(tmp_path, "a.tsv", WEBANNO + more))
    assert spans_of(dataset)[1] == [("too", "PER")]
    assert any("began in a sentence before" in message for message in messages(dataset, fatal=False))


def test_a_layer_of_webanno_without_features_is_its_label(tmp_path):
    text = "#FORMAT=WebAnno TSV 3.2\n#T_SP=webanno.custom.Drug|\n\n#Text=a b\n1-1\t0-1\ta\t*\t\n1-2\t2-3\tb\t_\t\n"
    assert spans_of(read_dataset(write(tmp_path, "a.tsv", text))) == [[("a", "Drug")]]


GUM = ("Entity=(person-1", "Entity=person-1)", "_", "Entity=(place-2)")


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("misc", [MISC["brackets"], MISC["tags"], GUM])
def test_entities_in_misc_have_their_types_also_where_the_order_of_fields_is_not_declared(
    misc, declared, tmp_path
):
    if misc is GUM and declared:
        pytest.skip("early versions of GUM declare nothing")
    lines = [
        f"{n}\t{form}" + 7 * "\t_" + f"\t{own}"
        for n, (form, own) in enumerate(zip(CONLLU_WORDS, misc, strict=True), 1)
    ]
    head = "# global.Entity = eid-etype-head\n" if declared else ""
    path = write(tmp_path, "a.conllu", head + "1-2\tAnnLee" + 8 * "\t_" + "\n" + "\n".join(lines) + "\n\n")
    assert spans_of(read_dataset(path)) == [[("Ann Lee", "person"), ("home", "place")]]
    write(tmp_path, "a.conllu", path.read_text().replace("-person-1", "").replace("-place-1", ""))
    if misc is MISC["brackets"]:
        assert spans_of(read_dataset(path)) == [[("Ann Lee", "entity"), ("home", "entity")]]


def test_a_text_of_rasa_may_have_a_list_of_entities(tmp_path):
    line = 'go [Oslo][{"entity": "city"}, {"entity": "station", "role": "from"}] now'
    path = write(tmp_path, "nlu.yml", f"nlu:\n- intent: go\n  examples: |\n    - {line}\n")
    found = read_dataset(path, ReadOptions(nested=True))
    assert found.examples[0].text == "go Oslo now"
    assert spans_of(found) == [[("Oslo", "city"), ("Oslo", "station")]]
    assert messages(found, fatal=False) == ["roles and groups of entities are not converted"]
    assert "overlaps" in messages(read_dataset(path), fatal=True)[0]


def test_seq_in_folders_are_splits(tmp_path):
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        write(tmp_path / split, "seq.in", "fly to oslo\nhi\n")
        write(tmp_path / split, "seq.out", "O O B-city\nO\n")
        write(tmp_path / split, "label", "fly\ngreet\n")
    assert [split.split for split in check_data([tmp_path]).splits] == ["train", "dev"]
    assert spans_of(read_split(tmp_path, "dev")) == [[("oslo", "city")], []]
    convert("seq-in", tmp_path / "train", tmp_path / "out.conll")
    write(tmp_path / "train", "seq.out", "O O\nO\n")
    assert "3 words, but 2 tags" in messages(read_split(tmp_path, "train"), fatal=True)[0]
    write(tmp_path / "train", "seq.out", "O O B-city\n")
    with pytest.raises(DataError, match=r"2 lines, but seq\.out has 1"):
        read_split(tmp_path, "train")


@pytest.mark.parametrize(
    "content",
    [
        "Sentence #,Word,Tag\n1,Ann,B-PER\n,ran,O\n",
        "text,label\nvery good,not bad\n",
        "word,tag\nAnn,B-PER\n",
    ],
)
def test_other_tables_are_no_texts_in_rows(content, tmp_path):
    assert recognize(write(tmp_path, "a.csv", content)) is None


def test_documents_are_kept_on_request(tmp_path):
    path, out = write(tmp_path, "a.txt", PUBTATOR), tmp_path / "out.conll"
    convert("pubtator", path, out, ConvertOptions(documents=True))
    assert out.read_text().count("-DOCSTART-") == 2


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_files_are_read_by_the_suffix_before(suffix, pack, tmp_path):
    (tmp_path / f"train.conll{suffix}").write_bytes(pack(b"Oslo\tB-LOC\n"))
    (tmp_path / f"dev.jsonl{suffix}").write_bytes(pack(b'{"text": "Oslo", "spans": [[0, 4, "LOC"]]}\n'))
    (tmp_path / f"a.txt{suffix}").write_bytes(pack(PUBTATOR.encode()))
    assert [dict(split.labels) for split in check_data([tmp_path]).splits] == [{"LOC": 1}, {"LOC": 1}]
    assert recognize(tmp_path / f"a.txt{suffix}") == "pubtator"
    convert("pubtator", tmp_path / f"a.txt{suffix}", tmp_path / "out.jsonl")
    broken = tmp_path / f"b.conll{suffix}"
    broken.write_bytes(pack(b"Oslo\tB-LOC\n" * 1000)[:-9])
    for damaged in (broken.read_bytes(), b"not packed"):
        broken.write_bytes(damaged)
        result = CliRunner().invoke(app, ["check-data", str(broken)])
        assert isinstance(result.exception, DataError), result.exception
        assert "cannot be read" in str(result.exception)


def test_documents_of_spacy_keep_their_tokens(tmp_path):
    tokens = pytest.importorskip("spacy.tokens")
    vocab = pytest.importorskip("spacy.vocab").Vocab()
    doc = tokens.Doc(vocab, words=["anti-", "IL10", " ", "works"], spaces=[False, True, False, False])
    doc.ents = [tokens.Span(doc, 1, 2, "GENE")]
    doc.spans["sc"] = [tokens.Span(doc, 0, 2, "DRUG"), tokens.Span(doc, 1, 2, "GENE")]
    bare = tokens.Doc(vocab, words=["no", "annotation"])
    path = tmp_path / "train.spacy"
    tokens.DocBin(docs=[doc, bare]).to_disk(path)
    dataset = read_dataset(path)
    assert dataset.examples[0].words == ("anti-", "IL10", "works")
    assert spans_of(dataset) == [[("IL10", "GENE")]]
    assert "'sc' (2)" in messages(dataset, fatal=False)[0]
    assert any("not annotated" in message for message in messages(dataset, fatal=False))
    nested = read_dataset(path, ReadOptions(label_field="sc"))
    assert "overlaps" in messages(nested, fatal=True)[0]
    assert check_data([tmp_path]).splits[0].labels == {"GENE": 1}
    convert("spacy", path, tmp_path / "out.jsonl")
    assert read_dataset(tmp_path / "out.jsonl").examples[0].words == dataset.examples[0].words
    with pytest.raises(DataError, match="no spans 'x'; there are ents, sc"):
        read_dataset(path, ReadOptions(label_field="x"))
    path.write_bytes(b"junk")
    with pytest.raises(DataError, match="not a DocBin"):
        read_dataset(path)


def test_the_table_of_formats_names_every_kind_and_how_it_is_read():
    page = (Path(__file__).parents[3] / "docs" / "data-formats.md").read_text(encoding="utf-8")
    table = page.partition("## Files of other tools")[2].partition("\n## ")[0]
    rows = [row.split(" | ") for row in table.splitlines() if row.startswith("| `")]
    shown = {name.strip("` |"): row[-1].strip(" |") for row in rows for name in row[0].split(", ")}
    kinds = {name: kind for name, kind in KINDS.items() if kind.fits is not None}
    assert shown == {name: "directly" if kind.is_direct else "by `convert`" for name, kind in kinds.items()}
