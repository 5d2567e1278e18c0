"""A spaCy component: `nlp.add_pipe("lookboth")` fills doc.ents and doc.spans.

spaCy finds the factory by the entry point `spacy_factories` of the installed package; nothing has to be imported.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from spacy.language import Language
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span, SpanGroup
from spacy.util import minibatch

from lookboth.errors import ConfigError, ModelError
from lookboth.inference import TextLabeler
from lookboth.labelers import open_labeler
from lookboth.types import Prediction

with suppress(ModuleNotFoundError):  # an exported labeler does without torch
    from lookboth.models import compute_in  # noqa: F401  # before `pipe(n_process=...)` forks, which it makes safe

AlignmentMode = Literal["expand", "contract", "strict"]
_SCORES = {"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None}


@dataclass
class LookbothComponent:
    """Labels the text of each Doc; made by `nlp.add_pipe("lookboth", config={...})`.

    The labeler reads `doc.text` and cuts it into its own words, those it was trained on. Where a span then begins
    or ends inside a spaCy token, `alignment_mode` decides.

    Args:
        name: of the component in the pipeline.
        model: saved labeler, folder or hub id; the shipped one when None. A saved pipeline keeps this reference,
            not a copy of the labeler.
        min_score: spans below are left out.
        batch_tokens: tokens computed at once; as many as suit the device when None.
        spans_key: `doc.spans[spans_key]` gets all spans, its `attrs["scores"]` their scores, as spaCy's own
            span categorizer does.
        alignment_mode: "expand" takes every token that a span touches, so that no span is lost; "contract" those
            that lie inside it, and a span without such a token is left out; "strict" leaves out what does not fit.
        device: "cpu", "cuda", ...; a GPU where there is one when None.

    Raises:
        ConfigError: a value that is not allowed.
        ModelError: at the first text, if the labeler cannot be loaded or labels whole texts.
    """

    name: str = "lookboth"
    model: str | None = None
    min_score: float = 0.0
    batch_tokens: int | None = None
    spans_key: str = "lookboth"
    alignment_mode: str = "expand"
    device: str | None = None

    def __post_init__(self) -> None:
        if self.alignment_mode not in get_args(AlignmentMode):
            allowed = ", ".join(get_args(AlignmentMode))
            raise ConfigError(f"alignment_mode = {self.alignment_mode!r}: allowed are {allowed}.")
        if not 0 <= self.min_score <= 1 or (self.batch_tokens is not None and self.batch_tokens < 1):
            raise ConfigError(
                f"min_score = {self.min_score}, batch_tokens = {self.batch_tokens}: the first lies between 0 and 1, "
                "the second is at least 1."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the weights: a process that is given the component loads its own."""
        return {key: value for key, value in vars(self).items() if key != "labeler"}

    @cached_property
    def labeler(self) -> TextLabeler:
        """The labeler, loaded when it is first needed."""
        labeler = open_labeler(self.model, device=self.device)
        if labeler.config.task == "classification":
            raise ModelError(
                f"{self.model}: labels whole texts and has no spans to put into doc.ents. Give a labeler of words."
            )
        return labeler

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it may give; none before the labeler is loaded, so that saving a pipeline loads nothing."""
        return tuple(self.labeler.config.labels) if "labeler" in vars(self) else ()

    def __call__(self, doc: Doc) -> Doc:
        """Label one Doc."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 256) -> Iterator[Doc]:
        """Label Docs as they come, `batch_size` of them together; short and long ones may be mixed."""
        for docs in minibatch(stream, size=batch_size):
            found = self.labeler.stream((doc.text for doc in docs), batch_tokens=self.batch_tokens)
            for doc, prediction in zip(docs, found, strict=True):
                self._annotate(doc, prediction.above(self.min_score))
                yield doc

    def score(self, examples: Iterable[Any], **_: Any) -> dict[str, Any]:
        """Return spaCy's entity scores of predicted against gold Docs; for `nlp.evaluate` and `spacy evaluate`."""
        return dict(get_ner_prf(examples))

    def _annotate(self, doc: Doc, prediction: Prediction) -> None:
        """Put the spans into doc.spans, and into doc.ents those that do not overlap, better ones first.

        Entities set before stay where no new one overlaps them.
        """
        aligned = [
            (span, found.score)
            for found in prediction.spans
            if (span := self._align(doc, found.start_char, found.end_char, found.label)) is not None
        ]
        scores = np.array([score for _, score in aligned], dtype=np.float32)
        spans = [span for span, _ in aligned]
        doc.spans[self.spans_key] = SpanGroup(doc, name=self.spans_key, attrs={"scores": scores}, spans=spans)
        ranked = [span for span, _ in sorted(aligned, key=lambda pair: -pair[1])]
        doc.set_ents(_without_overlaps([*ranked, *doc.ents]))

    def _align(self, doc: Doc, start: int, end: int, label: str) -> Span | None:
        return doc.char_span(start, end, label=label, alignment_mode=self.alignment_mode)


def _without_overlaps(spans: Iterable[Span]) -> list[Span]:
    """Return the spans that overlap none before them, in text order."""
    taken: set[int] = set()
    kept = []
    for span in spans:
        tokens = range(span.start, span.end)
        if taken.isdisjoint(tokens):
            taken.update(tokens)
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)


@Language.factory(
    "lookboth",
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_score_weights=_SCORES,
    default_config={
        "model": None,
        "min_score": 0.0,
        "batch_tokens": None,
        "spans_key": "lookboth",
        "alignment_mode": "expand",
        "device": None,
    },
)
def make_component(
    nlp: Language,
    name: str,
    model: str | None,
    min_score: float,
    batch_tokens: int | None,
    spans_key: str,
    alignment_mode: str,
    device: str | None,
) -> LookbothComponent:
    """Return the component for the settings of a spaCy config; see LookbothComponent."""
    return LookbothComponent(name, model, min_score, batch_tokens, spans_key, alignment_mode, device)
