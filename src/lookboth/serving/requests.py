"""What a client may ask for and what it gets: the JSON of `/v1/label`, read and checked."""

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lookboth.inference import saved_thresholds
from lookboth.serving.refusals import Refusal, invalid, too_large
from lookboth.serving.settings import ServerSettings
from lookboth.types import Prediction

Score = Annotated[float, Field(ge=0, le=1)]

_OBJECT = TypeAdapter(dict[str, Any])  # any JSON object, before its keys and values are looked at
_MOST_NAMES = 1000  # entries of a list or object other than the texts; no labeler has so many labels
_MOST_ERRORS = 5  # told in one answer


class LabelRequest(BaseModel):
    """One text or many, and what is wanted of them."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"text": "Ada Lovelace lived in London.", "min_score": 0.5}]},
    )

    text: str | None = Field(default=None, description="One text; give this or `texts`.")
    texts: list[str] | None = Field(default=None, description="Many texts.")
    model: str | None = Field(
        default=None, description="Name of a model (`GET /v1/models`); default: the first."
    )
    plan: str | None = Field(
        default=None, max_length=1000, description="Label under another mask plan: `causal`, `full`, `0011`."
    )
    min_score: Score | dict[str, Score] = Field(
        default=0.0, description="Leave out what scores below: one number, or one for each label."
    )
    thresholds: bool = Field(
        default=False, description="Leave out what scores below the thresholds the labeler was calibrated to."
    )
    labels: list[str] | None = Field(default=None, description="Only these labels; default: all.")

    def all_texts(self) -> list[str]:
        """Return the texts, one or many."""
        return [self.text] if self.text is not None else list(self.texts or ())

    def check(self, config: Any) -> None:
        """Refuse what the labeler with this configuration does not have.

        Raises:
            Refusal: 422, a label it does not give.
            ConfigError: thresholds of its own.
        """
        scores = self.min_score if isinstance(self.min_score, dict) else {}
        for label in (*(self.labels or ()), *scores):
            if label not in config.labels:
                allowed = f"labels: {', '.join(config.labels)}"
                raise invalid(f"the model has no label {label[:100]!r}", allowed)
        if self.thresholds:
            saved_thresholds(config)

    def select(self, prediction: Prediction, config: Any) -> Prediction:
        """Return a prediction with only what was asked for; its tags stay as they are.

        Args:
            prediction: all that was found.
            config: of the labeler that found it.
        """
        if self.thresholds:
            prediction = prediction.above(saved_thresholds(config))
        if self.labels is not None:
            prediction = prediction.above({name: None for name in config.labels if name not in self.labels})
        return prediction.above(self.min_score)


class LabeledSpan(BaseModel):
    """A labeled run of words."""

    start: int = Field(description="First character (Unicode code points, from 0).")
    end: int = Field(description="One past the last character.")
    label: str
    text: str
    score: float = Field(description="Probability the model gives the span.")


class ScoredLabel(BaseModel):
    """A label of a whole text."""

    label: str
    score: float


class TagSet(BaseModel):
    """The tags that a word may have, with the coverage the labeler was calibrated to."""

    start: int
    end: int
    tags: list[str]


class LabeledText(BaseModel):
    """A text with its spans, or its labels where whole texts are labeled."""

    text: str
    spans: list[LabeledSpan] | None = None
    labels: list[ScoredLabel] | None = None
    tag_sets: list[TagSet] | None = Field(default=None, description="Of a labeler calibrated to a coverage.")
    label_set: list[str] | None = Field(default=None, description="The same of a whole text.")


class LabelResponse(BaseModel):
    """One prediction a text, in order."""

    model: str
    predictions: list[LabeledText]


def read_request(body: bytes, content_type: str, settings: ServerSettings) -> LabelRequest:
    """Return a request that keeps to the limits.

    Raises:
        Refusal: 415 not sent as JSON; 422 not what is expected; 413 too many or too long texts.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(
            415, "invalid", f"the content type is {content_type[:100]!r}", "application/json",
            "Send the header Content-Type: application/json.",
        )  # fmt: skip
    found = _parse(body)
    _check_counts(found, settings)
    try:
        request = LabelRequest.model_validate(found)
    except ValidationError as error:
        raise _refuse(error) from None
    if (request.text is None) == (request.texts is None):
        given = "neither" if request.text is None else "both"
        raise invalid(f"{given} of text and texts are given", "exactly one of them")
    _check_sizes(request.all_texts(), settings)
    return request


def _parse(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds."""
    try:
        return _OBJECT.validate_json(body)
    except ValidationError as error:
        raise _refuse(error) from None


def _check_counts(found: dict[str, Any], settings: ServerSettings) -> None:
    """Refuse more keys or entries than are worth a look: checking each, and telling what is wrong, costs time."""
    if len(found) > len(LabelRequest.model_fields):
        unknown = next(key for key in found if key not in LabelRequest.model_fields)
        raise invalid(f"the request has {len(found)} keys, {unknown[:100]!r} among them", _allowed())
    texts = found.get("texts")
    if isinstance(texts, list) and len(texts) > settings.texts:
        raise too_large(
            "the request", f"{len(texts)} texts", f"{settings.texts} texts", "Send several requests."
        )
    for key, value in found.items():
        if key != "texts" and isinstance(value, list | dict) and len(value) > _MOST_NAMES:
            raise too_large(
                key[:100], f"{len(value)} entries", f"{_MOST_NAMES} entries", "Name labels of the model only."
            )


def _check_sizes(texts: list[str], settings: ServerSettings) -> None:
    for index, text in enumerate(texts):
        if len(text) > settings.text_chars:
            raise too_large(
                f"text {index}",
                f"{len(text)} characters",
                f"{settings.text_chars} characters",
                "Cut it into paragraphs and send these.",
            )


def _refuse(error: ValidationError) -> Refusal:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return invalid(_explain(details), _allowed())


def _allowed() -> str:
    return f"a JSON object of {', '.join(LabelRequest.model_fields)}"


def _explain(details: Iterable[Any]) -> str:
    """Return the first errors, without what was sent."""
    first = islice(details, _MOST_ERRORS)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in first)[:500]
