"""The page on which a person decides about the findings of an audit."""

import json
import re
from html import unescape

from wellformed import Wellformed

from lookboth.audit.auditing import Audit
from lookboth.audit.findings import Finding
from lookboth.reporting.review_page import render_review_page
from lookboth.types import Dataset, Example, Span

WORDS = ("<b>Ann</b>", "&", "Bob", "</script>", "ran")


def audit(*findings: Finding) -> Audit:
    examples = [Example(WORDS, (Span(0, 1, "PER"),), source="data.conll:1")]
    return Audit({"data": {}, "scheme": "IOB2"}, "abc", Dataset(examples, name="<data>"), [0], findings, 0.5)


def test_each_finding_shows_both_sides_and_carries_what_a_decision_needs():
    new = Span(2, 4, 'P"ER')
    finding = Finding(0, "data.conll:1", WORDS, (), (new,), 0.75)
    page = render_review_page(audit(finding))
    Wellformed(page)
    (data,) = re.findall('data-finding="([^"]*)"', page)
    assert json.loads(unescape(data))["suggested"] == [
        {"start": 2, "end": 4, "label": 'P"ER', "text": "Bob </script>"}
    ]
    given, suggested = page.split('<section class="side">')[1:]
    assert (given.count("<mark"), suggested.count("<mark")) == (1, 2)
    assert "changed: " not in given
    # In <bdi> the note does not decide the direction of a Hebrew or Arabic paragraph.
    assert '<bdi class="hidden-visually">changed: </bdi>' in suggested
    assert "missing span (1)" in page


def test_an_audit_without_findings_has_a_page_too():
    page = render_review_page(audit())
    Wellformed(page)
    assert "No findings." in page
