"""Settings of a server: limits on size, queue and time, and batching."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lookboth.config import read_override
from lookboth.errors import ConfigError, did_you_mean
from lookboth.memory import LARGE_BATCH, SMALL_BATCH


class ServerSettings(BaseModel):
    """Limits and batching of a server; the keys of `lookboth serve --set KEY=VALUE`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    text_chars: int = Field(default=50_000, gt=0, description="Characters of one text.")
    text_tokens: int = Field(default=16_000, gt=0, description="Tokens of one text.")
    texts: int = Field(default=256, gt=0, description="Texts of one request.")
    body_bytes: int = Field(default=1_000_000, gt=0, description="Bytes of one request.")
    open_bytes: int = Field(default=64_000_000, gt=0, description="Bytes of all requests held at once.")
    queue_tokens: int = Field(default=128_000, gt=0, description="Tokens accepted and not yet answered.")
    read_seconds: float = Field(
        default=15.0,
        gt=0,
        description="Seconds for a client to send the headers of a request, and again for its body.",
    )
    timeout_seconds: float = Field(default=60.0, gt=0, description="Seconds from a request to its answer.")
    keep_alive_seconds: int = Field(
        default=75, gt=0, description="Seconds that an idle connection is kept open after an answer."
    )
    stop_seconds: float = Field(
        default=20.0, ge=0, description="Seconds to finish accepted requests when the server stops."
    )
    streams: int = Field(default=16, gt=0, description="Streams open at once.")
    stream_chars: int = Field(default=1_000_000, gt=0, description="Characters of one stream.")
    stream_seconds: float = Field(
        default=60.0, gt=0, description="Seconds without text after which a stream is closed."
    )
    batch_tokens: int | None = Field(
        default=None,
        gt=0,
        description=f"Tokens computed at once. Default: {SMALL_BATCH} on a CPU, else {LARGE_BATCH}.",
    )
    wait_ms: float = Field(
        default=5.0,
        ge=0,
        description="Milliseconds that a single request waits for others to share its batch, unless the last batch "
        "had one request.",
    )

    @model_validator(mode="after")
    def _fit(self) -> "ServerSettings":
        if self.text_tokens > self.queue_tokens:
            raise ValueError(
                f"text_tokens is {self.text_tokens} and queue_tokens {self.queue_tokens}: "
                "queue_tokens must be at least text_tokens, or a text of the largest size would always be refused"
            )
        if self.body_bytes > self.open_bytes:
            raise ValueError(
                f"body_bytes is {self.body_bytes} and open_bytes {self.open_bytes}: "
                "open_bytes must be at least body_bytes, or a request of the largest size would always be refused"
            )
        return self


def parse_settings(overrides: Sequence[str] = ()) -> ServerSettings:
    """Return the default settings with `key=value` strings over them.

    Raises:
        ConfigError: no such key, or a value outside its range.

    >>> parse_settings(["wait_ms=2", "texts=10"]).texts
    10
    """
    values = dict(read_override(override, "texts=64") for override in overrides)
    try:
        return ServerSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(detail) for detail in error.errors())) from None


def _explain(detail: object) -> str:
    assert isinstance(detail, dict)
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        known = ServerSettings.model_fields
        return (
            f"--set {key}={detail['input']}: unknown key.{did_you_mean(key, known)} Keys: {', '.join(known)}."
        )
    message = detail["msg"].removeprefix("Value error, ")
    return f"--set {key}={detail['input']}: {message}." if key else f"{message}."
