"""Refusals: error answers with an HTTP status and JSON that has the reason and what to do."""

from dataclasses import dataclass

from pydantic import BaseModel, Field


class RefusalBody(BaseModel):
    """The JSON body of every error answer."""

    error: str = Field(description="What was found.")
    allowed: str = Field(description="What the server accepts.")
    what_to_do: str = Field(description="What the client can do next.")


@dataclass
class Refusal(Exception):
    """An error answer, raised where a request is refused.

    Args:
        status: HTTP status.
        reason: short name for metrics and logs, for example "queue_full".
        error, allowed, what_to_do: fields of `RefusalBody`.
        retry_after: seconds until the client should ask again.
    """

    status: int
    reason: str
    error: str
    allowed: str
    what_to_do: str
    retry_after: int | None = None

    def body(self) -> dict[str, str]:
        """Return the JSON body."""
        return RefusalBody(error=self.error, allowed=self.allowed, what_to_do=self.what_to_do).model_dump()

    def headers(self) -> dict[str, str]:
        """Return the HTTP headers of the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        # HTTP requires this header in every answer with status 401.
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def too_large(what: str, found: str, allowed: str, what_to_do: str) -> Refusal:
    """Return the refusal (413) of an input beyond a size limit.

    >>> too_large("the text", "12 characters", "10 characters", "Cut it.").body()["error"]
    'the text has 12 characters'
    """
    return Refusal(413, "too_large", f"{what} has {found}", f"at most {allowed}", what_to_do)


def invalid(error: str, allowed: str, what_to_do: str = "Correct the request; see /docs.") -> Refusal:
    """Return the refusal (422) of an invalid request, or of one that names an unknown model, label or plan."""
    return Refusal(422, "invalid", error, allowed, what_to_do)


def hung_up() -> Refusal:
    """Return the refusal (499) of a client that left; it only appears in the log and the metrics."""
    # 499 is nginx's code for a client that closed the connection; HTTP has none.
    return Refusal(499, "hung_up", "the client left", "-", "-")


def stopping() -> Refusal:
    """Return the refusal (503) of a request that arrives or still waits while the server stops."""
    return Refusal(
        503, "stopping", "the server is stopping", "requests before it stops",
        "Ask another server, or this one after its restart.", 5,
    )  # fmt: skip


def crashed(kind: str) -> Refusal:
    """Return the answer (500) to a request that caused an unexpected error in the server.

    Args:
        kind: class name of the exception; its message may contain the text and is not sent.
    """
    return Refusal(
        500, "crashed", f"the server failed on this request ({kind})", "any text within the limits",
        "Ask again with fewer texts to find the one that fails; the server's log has the place in the code.",
    )  # fmt: skip
