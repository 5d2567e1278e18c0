"""The JSON of `/v1/label`: schemas of request and response, and the checks of a request."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lookboth.inference import saved_thresholds
from lookboth.serving.refusals import Refusal, invalid, too_large
from lookboth.serving.settings import ServerSettings
from lookboth.types import Prediction

Score = Annotated[float, Field(ge=0, le=1)]

# Any JSON object; its keys and values are checked later.
_OBJECT = TypeAdapter(dict[str, Any])
# Limit on the entries of any list or object other than the texts; labelers have fewer labels.
_MOST_NAMES = 1000
# Number of errors reported in one answer.
_MOST_ERRORS = 5


class LabelRequest(BaseModel):
    """The body of a label request: one or many texts, model, mask plan and filters of the result."""

    model_config = ConfigDict(
        # A mistyped key is an error, not ignored.
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"text": "Ada Lovelace lived in London.", "min_score": 0.5}]},
    )

    text: str | None = Field(default=None, description="One text; give this or `texts`.")
    texts: list[str] | None = Field(default=None, description="Many texts.")
    document: bool = Field(
        default=False,
        description="Whether `texts` are one document, in order; a model with context reads each with those around it.",
    )
    model: str | None = Field(
        default=None, description="Name of a model (see `GET /v1/models`); default: the first."
    )
    plan: str | None = Field(
        default=None, max_length=1000, description="Label under another mask plan: `causal`, `full`, `0011`."
    )
    min_score: Score | dict[str, Score] = Field(
        default=0.0, description="Minimum score: one number, or one number per label."
    )
    thresholds: bool = Field(
        default=False, description="Apply the labeler's calibrated thresholds as minimum scores."
    )
    labels: list[str] | None = Field(
        default=None,
        description="Only these labels; default: all. An open or generative labeler finds these, each as `name` or "
        "`name: description`; default: those of its training.",
    )

    def all_texts(self) -> list[str]:
        """Return all texts as a list."""
        return [self.text] if self.text is not None else list(self.texts or ())

    def check(self, config: Any, known: Sequence[str]) -> None:
        """Check labels and thresholds against a labeler's configuration.

        Args:
            config: configuration of the labeler.
            known: labels of the labeler, or those named for an open one.

        Raises:
            Refusal: 422, the labeler does not have a label.
            ConfigError: thresholds were requested and the labeler has none.
        """
        scores = self.min_score if isinstance(self.min_score, dict) else {}
        for label in (*(self.labels or ()), *scores):
            if label not in known:
                allowed = f"labels: {', '.join(known)}"
                raise invalid(f"the model has no label {label[:100]!r}", allowed)
        if self.thresholds:
            saved_thresholds(config)

    def select(self, prediction: Prediction, config: Any) -> Prediction:
        """Return the prediction filtered by labels and scores; its tags are unchanged.

        Args:
            prediction: the unfiltered prediction.
            config: configuration of the labeler that made it.
        """
        if self.thresholds:
            prediction = prediction.above(saved_thresholds(config))
        if self.labels is not None:
            prediction = prediction.above({name: None for name in config.labels if name not in self.labels})
        return prediction.above(self.min_score)


class LabeledSpan(BaseModel):
    """A labeled span of words."""

    start: int = Field(description="First character (Unicode code points, from 0).")
    end: int = Field(description="One past the last character.")
    label: str
    text: str
    score: float = Field(description="Probability of the span according to the model.")


class ScoredLabel(BaseModel):
    """A label of a whole text."""

    label: str
    score: float


class TagSet(BaseModel):
    """The prediction set of a word: tags that contain the right one with the calibrated coverage."""

    start: int
    end: int
    tags: list[str]


class LabeledText(BaseModel):
    """A text with its spans, or with its labels if the labeler classifies whole texts."""

    text: str
    spans: list[LabeledSpan] | None = None
    labels: list[ScoredLabel] | None = None
    tag_sets: list[TagSet] | None = Field(
        default=None, description="Prediction sets of the words, if the labeler is calibrated to a coverage."
    )
    label_set: list[str] | None = Field(
        default=None, description="Prediction set of the text, if the labeler is calibrated to a coverage."
    )


class LabelResponse(BaseModel):
    """The body of an answer: one prediction per text, in order."""

    model: str
    predictions: list[LabeledText]


class StreamRequest(BaseModel):
    """The body of a request that opens a stream."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"lag": 0}]})

    model: str | None = Field(default=None, description="Name of a model; default: the first.")
    plan: str | None = Field(
        default=None, max_length=1000, description="Label under another mask plan, with finite look-ahead."
    )
    labels: list[str] | None = Field(
        default=None,
        max_length=_MOST_NAMES,
        description="Labels that an open labeler finds, as for `/v1/label`; default: those of its training.",
    )
    lag: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Words after which a tag is final; default: as many as needed for the tags of `/v1/label`.",
    )


class PieceRequest(BaseModel):
    """The body of a request that gives a stream its next text."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"text": "Ada "}]})

    text: str = Field(default="", description="The next piece of the text, of any length.")
    finish: bool = Field(default=False, description="Whether the text ends here.")


class ModelRequest(BaseModel):
    """The body of a request that adds a model."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"name": "names", "source": "runs/a/labeler"}]},
    )

    name: str = Field(pattern=r"\A[A-Za-z0-9._-]{1,100}\z", description="Name of the model in requests.")
    source: str = Field(min_length=1, max_length=1000, description="Folder on the server, or hub id.")


def json_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the description of a JSON body for /docs."""
    return {"required": True, "content": {"application/json": {"schema": kind.model_json_schema()}}}


_Body = TypeVar("_Body", bound=BaseModel)


def read_body(body: bytes, content_type: str, kind: type[_Body]) -> _Body:
    """Parse the body of a request.

    Raises:
        Refusal: 415 the content type is not JSON; 422 the request is invalid.
    """
    return _validate(_read_object(body, content_type), kind)


def read_request(body: bytes, content_type: str, settings: ServerSettings) -> LabelRequest:
    """Parse the body of a label request and check it against the limits.

    Raises:
        Refusal: 415 the content type is not JSON; 422 the request is invalid; 413 too many or too long texts.
    """
    found = _read_object(body, content_type)
    _check_counts(found, settings)
    request = _validate(found, LabelRequest)
    if (request.text is None) == (request.texts is None):
        given = "neither" if request.text is None else "both"
        raise invalid(f"{given} of the keys text and texts are given", "exactly one of them")
    for index, text in enumerate(request.all_texts()):
        check_size(f"text {index}", text, settings)
    check_labels(request.labels, settings)
    return request


def check_labels(labels: Sequence[str] | None, settings: ServerSettings) -> None:
    """Refuse labels that are together longer than one text may be, because an open labeler reads them.

    Raises:
        Refusal: 413.
    """
    if (chars := sum(map(len, labels or ()))) > settings.text_chars:
        allowed = f"{settings.text_chars} characters"
        raise too_large("labels", f"{chars} characters", allowed, "Shorten their descriptions.")


def check_size(what: str, text: str, settings: ServerSettings) -> None:
    """Refuse a text that is too long.

    Raises:
        Refusal: 413.
    """
    if len(text) > settings.text_chars:
        found, allowed = f"{len(text)} characters", f"{settings.text_chars} characters"
        raise too_large(what, found, allowed, "Cut it into paragraphs and send these.")


def _read_object(body: bytes, content_type: str) -> dict[str, Any]:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(
            415, "invalid", f"the content type is {content_type[:100]!r}", "application/json",
            "Send the header Content-Type: application/json.",
        )  # fmt: skip
    return _parse(body)


def _validate(found: dict[str, Any], kind: type[_Body]) -> _Body:
    if len(found) > len(kind.model_fields):
        unknown = next(key for key in found if key not in kind.model_fields)
        raise invalid(f"the request has {len(found)} keys, {unknown[:100]!r} among them", _allowed(kind))
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        raise _refuse(error, kind) from None


def _parse(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body."""
    try:
        return _OBJECT.validate_json(body)
    except ValidationError as error:
        raise _refuse(error, LabelRequest) from None


def _check_counts(found: dict[str, Any], settings: ServerSettings) -> None:
    """Refuse too many entries before validation, which would spend time on each and on its message."""
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


def _refuse(error: ValidationError, kind: type[BaseModel]) -> Refusal:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return invalid(_explain(details), _allowed(kind))


def _allowed(kind: type[BaseModel]) -> str:
    return f"a JSON object of {', '.join(kind.model_fields)}"


def _explain(details: Iterable[Any]) -> str:
    """Return the messages of the first errors, without the values that were sent."""
    first = islice(details, _MOST_ERRORS)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in first)[:500]
