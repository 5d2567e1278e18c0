"""What a judge that knows the truth finds in labels with planted errors."""

from dataclasses import replace
from itertools import combinations, pairwise
from random import Random

import numpy as np
import pytest
from oracle import oracle, true_examples, with_spans

from lookboth.audit.findings import FindingKind, find_errors
from lookboth.audit.folds import make_folds, take_share
from lookboth.audit.rendering import render_lines, render_table, replace_spans, suggested_predictions
from lookboth.errors import ConfigError, DataError
from lookboth.types import Example, Span

TRUE = true_examples()
PER, LOC = Span(0, 2, "PER"), Span(4, 6, "LOC")  # of the first sentence


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ((LOC,), FindingKind.missing),
        ((PER, Span(4, 5, "LOC")), FindingKind.border),
        ((PER, Span(3, 6, "LOC")), FindingKind.border),
        ((PER, Span(4, 5, "LOC"), Span(5, 6, "LOC")), FindingKind.border),
        ((PER, Span(4, 6, "PER")), FindingKind.label),
        ((PER, Span(5, 6, "PER")), FindingKind.border_and_label),
        ((PER, Span(3, 4, "LOC"), LOC), FindingKind.extra),
    ],
)
@pytest.mark.parametrize("scheme", ["IOB2", "IOBES"])
def test_each_kind_of_error_is_found_first_and_mended(given, kind, scheme):
    (finding,) = find_errors(with_spans(TRUE, 0, *given), oracle(TRUE, scheme=scheme))
    assert (finding.sentence, finding.kind) == (0, kind)
    assert replace_spans(given, [finding]) == (PER, LOC)


def test_correct_labels_have_no_findings():
    assert find_errors(TRUE, oracle(TRUE)) == []


def test_one_label_per_word():
    true = [Example(("so", "it", "is"), tuple(Span(i, i + 1, t) for i, t in enumerate("ABC")))] * 3
    wrong = with_spans(true, 1, Span(0, 1, "A"), Span(1, 2, "C"), Span(2, 3, "C"))
    (finding,) = find_errors(wrong, oracle(true, scheme="plain"))
    assert (finding.sentence, finding.kind) == (1, FindingKind.label)
    assert (finding.given, finding.suggested) == ((Span(1, 2, "C"),), (Span(1, 2, "B"),))


def test_planted_errors_come_first_although_the_judge_errs_too():
    rng = Random(1)
    examples = true_examples(20)
    probs, wrong = oracle(examples), list(examples)
    planted = set(rng.sample([i for i, e in enumerate(examples) if e.spans], 12))
    for index in planted:
        wrong[index] = replace(wrong[index], spans=wrong[index].spans[1:])
    # The judge is less sure where it is wrong itself: it prefers "O" by little.
    for index in rng.sample([i for i, e in enumerate(examples) if e.spans and i not in planted], 20):
        word = examples[index].spans[0].start
        probs.log_probs[index][word] = np.log([0.5, *[0.45 / 3] * 3, 0.05])
    found = find_errors(wrong, probs)
    assert {finding.sentence for finding in found[:12]} == planted
    assert len(found) > 12


def test_findings_share_no_words_so_that_each_can_be_decided_alone():
    rng = Random(3)

    def spans(labels: tuple[str, ...]) -> tuple[Span, ...]:
        cuts = sorted(rng.sample(range(9), 6))
        pairs = zip(cuts[::2], cuts[1::2], strict=True)
        return tuple(Span(start, end, rng.choice(labels)) for start, end in pairs)

    for _ in range(30):
        given, true = ([Example(tuple("abcdefgh"), spans(("LOC", "PER"))), *TRUE] for _ in range(2))
        findings = [finding for finding in find_errors(given, oracle(true)) if finding.sentence == 0]
        ranges = sorted(finding.words_range for finding in findings)
        assert all(one[1] <= other[0] for one, other in pairwise(ranges))
        assert replace_spans(given[0].spans, findings) == true[0].spans


def test_other_places_with_the_same_words_support_a_suggestion():
    wrong = with_spans(TRUE, 1, Span(0, 1, "PER"), Span(3, 4, "PER"))
    (finding,) = find_errors(wrong, oracle(TRUE))
    # Rome is a LOC in the three copies of the sentence, and in the four of another one.
    assert finding.elsewhere == (7, 0, 7)
    assert finding.score > find_errors(with_spans(TRUE, 5, Span(0, 1, "PER")), oracle(TRUE))[0].score


def test_a_label_that_occurs_once_is_questioned():
    wrong = with_spans(TRUE, 0, Span(0, 2, "PRE"), LOC)
    true = oracle(TRUE)
    tags = (*true.tags, "B-PRE", "I-PRE")
    rows = [np.hstack([row, np.full((len(row), 2), np.log(1e-6))]) for row in true.log_probs]
    (finding,) = find_errors(wrong, replace(true, tags=tags, log_probs=rows))
    assert finding.suggested == (PER,)


def test_the_table_shows_both_sides_in_context_and_no_control_characters():
    wrong = with_spans(TRUE, 0, PER)
    wrong[0] = replace(wrong[0], words=("Ann", "\x1b[31m", *wrong[0].words[2:]))
    findings = find_errors(wrong, oracle(TRUE))
    text = "".join(render_table(findings))
    assert "missing span  (data.conll:0" in text
    assert "in [New York LOC] . 0" in text
    assert "\x1b" not in text
    (line,) = render_lines(findings)
    assert '"given": [], "suggested": [{"start": 4, "end": 6, "label": "LOC", "text": "New York"}]' in line


# Folds


def test_duplicates_are_in_one_part_and_every_sentence_is_held_out_once():
    copies = [replace(e, words=tuple(word.upper() for word in e.words)) for e in TRUE[:9]]
    examples = [*TRUE, *TRUE[:5], *copies, Example(())]
    folds = make_folds(examples, 4, seed=0)
    assert sorted(i for fold in folds for i in fold.held) == list(range(len(examples) - 1))
    for fold in folds:
        parts = [{tuple(w.lower() for w in examples[i].words) for i in part} for part in fold]
        assert all(parts)
        assert not any(one & other for one, other in combinations(parts, 2))
        assert sorted(i for part in fold for i in part) == list(range(len(examples) - 1))


def test_folds_depend_on_the_seed_alone_and_are_of_similar_size():
    assert make_folds(TRUE, 5, 1) == make_folds(TRUE, 5, 1) != make_folds(TRUE, 5, 2)
    sizes = [len(fold.held) for fold in make_folds(TRUE, 5, 1)]
    assert max(sizes) - min(sizes) <= 1


def test_smaller_shares_are_inside_larger_ones():
    parts = [set(take_share(range(100), n, 0)) for n in (1, 2, 4, 8)]
    assert [len(part) for part in parts] == [100, 50, 25, 12]
    assert parts[3] < parts[2] < parts[1] < parts[0]


def test_sentences_of_a_document_stay_together_if_they_are_read_with_each_other():
    documents = [tuple(e.words for e in TRUE[i : i + 3]) for i in range(0, len(TRUE), 3)]
    examples = [replace(e, document=documents[i // 3], place=i % 3) for i, e in enumerate(TRUE)]
    for fold in make_folds(examples, 4, 0, whole_documents=True):
        parts = [{i // 3 for i in part} for part in fold]
        assert not any(one & other for one, other in combinations(parts, 2))


def test_a_sentence_that_every_document_has_does_not_join_them_and_is_not_trained_on_where_it_is_judged():
    documents = [((f"Ada{i}", "spoke"), ("He", "left"), (f"Bob{i}", "too")) for i in range(8)]
    examples = [Example(w, document=d, place=i) for d in documents for i, w in enumerate(d)]
    folds = make_folds(examples, 2, 0, whole_documents=True)
    assert sorted(i for fold in folds for i in fold.held) == list(range(24))
    for fold in folds:
        assert len(fold.held) == 12
        assert not {examples[i].words for i in fold.train} & {examples[i].words for i in fold.held}
    with pytest.raises(DataError, match="no sentence to train on that is not also judged"):
        make_folds(
            [Example(("a",), document=(("a",), (str(i),))) for i in range(6)], 2, 0, whole_documents=True
        )


def test_too_few_sentences_are_refused():
    with pytest.raises(DataError, match="too few for 5 folds"):
        make_folds([TRUE[0]] * 50, 5, 0)
    # Outside the fold with two of them, one sentence is left, which cannot both train and choose the epoch.
    with pytest.raises(
        DataError, match=r"3 different sentences are too few for 2 folds, which need at least 4\. Add data\.$"
    ):
        make_folds([Example((word,)) for word in "abc"], 2, 0)
    with pytest.raises(ConfigError, match="2 or more"):
        make_folds(TRUE, 1, 0)


def test_pre_annotations_have_all_suggestions_of_a_sentence():
    from lookboth.audit.auditing import Audit
    from lookboth.types import Dataset

    wrong = with_spans(TRUE, 0)
    audit = Audit({}, "", Dataset(wrong), range(len(wrong)), find_errors(wrong, oracle(TRUE)), 1.0)
    (prediction,) = suggested_predictions(audit)
    assert [(s.label, s.text) for s in prediction.spans] == [("PER", "Ann Lee"), ("LOC", "New York")]
