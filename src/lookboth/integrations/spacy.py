"""A spaCy component: `nlp.add_pipe("lookboth")` fills doc.ents and doc.spans.

spaCy finds the factory by the entry point `spacy_factories` of the installed package, without any import.
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

# Imported here because importing it makes the later fork of `pipe(n_process=...)` safe. An exported labeler also runs
# without torch.
with suppress(ModuleNotFoundError):
    from lookboth.models import compute_in  # noqa: F401

AlignmentMode = Literal["expand", "contract", "strict"]
_SCORES = {"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None}


@dataclass
class LookbothComponent:
    """Labels the text of each Doc; created by `nlp.add_pipe("lookboth", config={...})`.

    The labeler splits `doc.text` into its own words, as in training. If a span starts or ends inside a spaCy token,
    `alignment_mode` applies.

    Args:
        name: name of the component in the pipeline.
        model: saved labeler, folder or hub id; the shipped one when None. A saved pipeline stores this reference,
            not a copy of the labeler.
        min_score: spans with a lower score are left out.
        batch_tokens: tokens computed at once; None: a number that suits the device.
        spans_key: all spans are stored in `doc.spans[spans_key]`, with their scores in `attrs["scores"]`, as spaCy's
            span categorizer does.
        alignment_mode: "expand" takes every token that overlaps a span, so that no span is lost. "contract" takes the
            tokens inside the span; a span without any is left out. "strict" leaves out spans that do not align.
        device: "cpu", "cuda", ...; None: a GPU if there is one.
        named_labels: the labels that an open or generative labeler finds, each as "name" or "name: description"; None:
            those of its training. The key "labels" of the config.

    Raises:
        ConfigError: a value is not allowed.
        ModelError: at the first text, if the labeler cannot be loaded, labels whole texts, or has fixed labels although
            labels are named.
    """

    name: str = "lookboth"
    model: str | None = None
    min_score: float = 0.0
    batch_tokens: int | None = None
    spans_key: str = "lookboth"
    alignment_mode: str = "expand"
    device: str | None = None
    named_labels: list[str] | None = None

    def __post_init__(self) -> None:
        if self.alignment_mode not in get_args(AlignmentMode):
            allowed = ", ".join(get_args(AlignmentMode))
            raise ConfigError(f"alignment_mode = {self.alignment_mode!r}: allowed are {allowed}.")
        if not 0 <= self.min_score <= 1 or (self.batch_tokens is not None and self.batch_tokens < 1):
            raise ConfigError(
                f"min_score = {self.min_score}, batch_tokens = {self.batch_tokens}: min_score must be between 0 and 1, "
                "batch_tokens at least 1."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the weights, as each process loads its own."""
        return {key: value for key, value in vars(self).items() if key != "labeler"}

    @cached_property
    def labeler(self) -> TextLabeler:
        """Return the labeler, which is loaded on first use."""
        labeler = open_labeler(self.model, device=self.device)
        if labeler.config.task == "classification":
            raise ModelError(
                f"{self.model}: labels whole texts, so there are no spans for doc.ents. Use a labeler of words."
            )
        return labeler if self.named_labels is None else labeler.with_labels(self.named_labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels; empty before the labeler is loaded, so that saving a pipeline does not load it."""
        return tuple(self.labeler.config.labels) if "labeler" in vars(self) else ()

    def __call__(self, doc: Doc) -> Doc:
        """Label one Doc."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 256) -> Iterator[Doc]:
        """Label a stream of Docs, `batch_size` at a time; short and long ones may be mixed."""
        for docs in minibatch(stream, size=batch_size):
            found = self.labeler.stream((doc.text for doc in docs), batch_tokens=self.batch_tokens)
            for doc, prediction in zip(docs, found, strict=True):
                self._annotate(doc, prediction.above(self.min_score))
                yield doc

    def score(self, examples: Iterable[Any], **_: Any) -> dict[str, Any]:
        """Return spaCy's entity scores of predicted against gold Docs; for `nlp.evaluate` and `spacy evaluate`."""
        return dict(get_ner_prf(examples))

    def _annotate(self, doc: Doc, prediction: Prediction) -> None:
        """Store all spans in doc.spans, and those without overlaps in doc.ents, by descending score.

        Existing entities are kept unless a new one overlaps them.
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
        # spaCy allows no overlapping entities, so the best spans are kept first.
        doc.set_ents(_without_overlaps([*ranked, *doc.ents]))

    def _align(self, doc: Doc, start: int, end: int, label: str) -> Span | None:
        return doc.char_span(start, end, label=label, alignment_mode=self.alignment_mode)


def _without_overlaps(spans: Iterable[Span]) -> list[Span]:
    """Return the spans that do not overlap an earlier one of the list, sorted by position."""
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
        "labels": None,
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
    labels: list[str] | None,
) -> LookbothComponent:
    """Return the component for the settings of a spaCy config; see LookbothComponent."""
    return LookbothComponent(name, model, min_score, batch_tokens, spans_key, alignment_mode, device, labels)
