"""What the server says when it does not do what was asked: a status, and JSON that says why and what to do."""

from dataclasses import dataclass

from pydantic import BaseModel, Field


class RefusalBody(BaseModel):
    """The JSON of every answer that is not a result."""

    error: str = Field(description="What was found.")
    allowed: str = Field(description="What the server takes.")
    what_to_do: str = Field(description="What the client can do next.")


@dataclass
class Refusal(Exception):
    """An answer that is not a result.

    Args:
        status: HTTP status.
        error, allowed, what_to_do: see `RefusalBody`.
        reason: short name for metrics and logs, for example "queue_full".
        retry_after: seconds after which it is worth asking again.
    """

    status: int
    reason: str
    error: str
    allowed: str
    what_to_do: str
    retry_after: int | None = None

    def body(self) -> dict[str, str]:
        """Return the JSON form."""
        return RefusalBody(error=self.error, allowed=self.allowed, what_to_do=self.what_to_do).model_dump()

    def headers(self) -> dict[str, str]:
        """Return the headers that go with it."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def too_large(what: str, found: str, allowed: str, what_to_do: str) -> Refusal:
    """Return the refusal of something beyond a limit on size.

    >>> too_large("the text", "12 characters", "10 characters", "Cut it.").body()["error"]
    'the text has 12 characters'
    """
    return Refusal(413, "too_large", f"{what} has {found}", f"at most {allowed}", what_to_do)


def invalid(error: str, allowed: str, what_to_do: str = "Correct the request; see /docs.") -> Refusal:
    """Return the refusal of a request that cannot be read or asks for something that is not there."""
    return Refusal(422, "invalid", error, allowed, what_to_do)


def hung_up() -> Refusal:
    """Return the answer to a client that left, which nobody reads; it is for the log."""
    return Refusal(499, "hung_up", "the client left", "-", "-")


def stopping() -> Refusal:
    """Return the answer to a request that comes, or is still waiting, when the server stops."""
    return Refusal(
        503, "stopping", "the server is stopping", "requests before it stops",
        "Ask another server, or this one after its restart.", 5,
    )  # fmt: skip


def crashed(kind: str) -> Refusal:
    """Return the answer to a request that met an error of the server's own.

    Args:
        kind: name of the exception; its message may hold the text and is told to nobody.
    """
    return Refusal(
        500, "crashed", f"the server failed on this request ({kind})", "any text within the limits",
        "Ask again with fewer texts to find the one it fails on; the server's log has the place.",
    )  # fmt: skip
