"""A labeler whose answers are known and which can be held up, and what tests ask of a server."""

import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from lookboth.data.words import example_from_text
from lookboth.inference import Confidence
from lookboth.types import PredictedSpan, Prediction


class Capitals:
    """Labels capitalized words: NAME with score 0.9, or LETTER with 0.4 if they have one letter."""

    config = SimpleNamespace(labels=("NAME", "LETTER"), task="labeling", plan=None, confidence=Confidence())
    takes_plans = False
    takes_labels = False
    batch_key = None

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go, self.busy = threading.Event(), threading.Event()
        self.go.set()

    def stream(self, texts: Sequence[str], *, batch_tokens: int) -> Iterator[Prediction]:
        self.batches.append(list(texts))
        self.busy.set()
        assert self.go.wait(10)
        for text in texts:
            if "crash" in text:
                raise RuntimeError(f"cannot label: {text}")
            yield predict(text)


def predict(text: str) -> Prediction:
    """Return what `Capitals` finds."""
    example = example_from_text(text)
    found = []
    for index, (word, (start, end)) in enumerate(zip(example.words, example.offsets, strict=True)):
        label, score = ("NAME", 0.9) if len(word) > 1 else ("LETTER", 0.4)
        if word[0].isupper():
            found.append(PredictedSpan(index, index + 1, label, word, start, end, score))
    return Prediction(text, example.words, example.offsets, ("O",) * len(example.words), tuple(found))


def label(client: Any, **request: Any) -> Any:
    """Return the answer to a request for labels."""
    return client.post("/v1/label", json=request)


def found(response: Any) -> list[list[str]]:
    """Return the texts of the spans of each prediction."""
    assert response.status_code == 200, response.text
    return [[span["text"] for span in one["spans"]] for one in response.json()["predictions"]]


def refusal(response: Any) -> tuple[int, str]:
    """Return status and error of a refusal, which always has the same form."""
    body = response.json()
    assert set(body) == {"error", "allowed", "what_to_do"}
    assert all(body.values())
    return response.status_code, body["error"]
