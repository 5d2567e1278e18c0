"""Sentences as token ids, each alone or in one window with the sentences around it in its document.

Schweter and Akbik 2020, "FLERT: Document-Level Features for Named Entity Recognition" (arXiv 2011.06993): the words to
the left and to the right are read, and only those of the sentence are labeled.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, islice
from typing import Literal

from lookboth.data.alignment import Encoding, WordEncoder, join_words
from lookboth.data.windows import window_example
from lookboth.types import Example, TagId, TokenizedExample

# Most tokens of the document on each side of a sentence; "document": as many as fit in a window.
Context = int | Literal["document"]
_WordIds = tuple[int, ...]
_Sentence = Sequence[_WordIds]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSizes:
    """Sizes of windows in tokens; the copies of sequence repetition are not counted.

    Args:
        max_tokens: longest window, special tokens included.
        overlap: context at the inner borders of a sentence that needs several windows.
        context: most tokens of the document on each side of a sentence; 0: none; "document": as many as fit.
        look_ahead: tokens to the right that the state of a token depends on; None: no limit.
    """

    max_tokens: int
    overlap: int
    context: Context = 0
    look_ahead: int | None = None

    @property
    def side(self) -> int:
        """Most tokens of context on each side."""
        return self.max_tokens if self.context == "document" else self.context


def tokenize_words(
    examples: Sequence[Example],
    encoder: WordEncoder,
    sizes: WindowSizes,
    *,
    labels: Sequence[Sequence[TagId]] | None = None,
) -> list[TokenizedExample]:
    """Return the windows of each example, in order; examples without words are skipped.

    With `sizes.context`, the window of a sentence has as many words of its document on each side as fit in `context`
    and, together, in `max_tokens`; if both sides do not fit, each gets half of the tokens, or more if the other side
    needs less. Words beyond `look_ahead` are left out on the right. A sentence that does not fit in a window is cut
    into windows without its document. Sentences of a document that fits as a whole share one row of a batch.

    Args:
        examples: the sentences.
        encoder: the encoder of words.
        sizes: the sizes of windows.
        labels: the tag id of each word of each example, or None.
    """
    documents = {id(e.document): e.document for e in examples if sizes.side and len(e.document) > 1}
    # One call for all words: fast tokenizers work in parallel within a call.
    sentences = [*chain.from_iterable(documents.values()), *(example.words for example in examples)]
    encoded = iter(encoder.encode_words(word for words in sentences for word in words))
    known = {
        key: _Document.of([list(islice(encoded, len(words))) for words in document], encoder.encoding, sizes)
        for key, document in documents.items()
    }
    pieces: list[TokenizedExample] = []
    for index, example in enumerate(examples):
        words = list(islice(encoded, len(example.words)))
        tags = None if labels is None else labels[index]
        document = known.get(id(example.document))
        if words and document is None:
            pieces += _windows(words, encoder.encoding, sizes, tags, index)
        elif words and document is not None:
            pieces += document.windows(words, example.place, tags, index)
    return pieces


@dataclass(frozen=True, slots=True)
class _Document:
    """The token ids of the words of a document.

    Args:
        sentences: token ids of each word of each sentence.
        encoding, sizes: as in `tokenize_words`.
        whole: all sentences in one window, if every sentence has all others as context.
    """

    sentences: Sequence[_Sentence]
    encoding: Encoding
    sizes: WindowSizes
    whole: TokenizedExample | None

    @classmethod
    def of(cls, sentences: Sequence[_Sentence], encoding: Encoding, sizes: WindowSizes) -> "_Document":
        """Return the document with these sentences."""
        words = list(chain.from_iterable(sentences))
        fits = sum(map(len, words)) <= min(sizes.side, sizes.max_tokens - encoding.special_tokens())
        return cls(sentences, encoding, sizes, join_words(words, encoding) if fits else None)

    def windows(
        self, words: _Sentence, place: int, labels: Sequence[TagId] | None, example: int
    ) -> list[TokenizedExample]:
        """Return the windows of one sentence.

        Args:
            words: token ids of its words; fewer than in the document if it was truncated.
            place: index of the sentence.
            labels, example: as in `join_words`.
        """
        if self.whole is not None and len(words) == len(self.sentences[place]):
            first = sum(map(len, self.sentences[:place]))
            own = self.whole.word_tokens[first : first + len(words)]
            tags = None if labels is None else tuple(labels)
            return [replace(self.whole, word_tokens=own, labels=tags, example=example, shares_row=True)]
        budget = self.sizes.max_tokens - self.encoding.special_tokens() - sum(map(len, words))
        if budget < 0:
            return _windows(words, self.encoding, self.sizes, labels, example)
        left, right = self._sides(place, budget)
        whole = [*reversed(left), *words, *right]
        around = (len(left), len(right))
        return [join_words(whole, self.encoding, labels=labels, example=example, context=around)]

    def _sides(self, place: int, budget: int) -> tuple[list[_WordIds], list[_WordIds]]:
        """Return the words to the left, nearest first, and to the right of a sentence, of at most `budget` tokens."""
        most = min(self.sizes.side, budget)
        left = _nearest(self._before(place), most)
        right = _nearest(self._after(place), most)
        if self.sizes.look_ahead is not None:
            # A word is right context if its first token is within the look-ahead.
            starts = accumulate(map(len, right), initial=0)
            right = right[: sum(start < self.sizes.look_ahead for start in islice(starts, len(right)))]
        # Each side gets half of the budget, and what the other side leaves.
        right = _nearest(right, max(budget // 2, budget - sum(map(len, left))))
        return _nearest(left, budget - sum(map(len, right))), right

    def _before(self, place: int) -> Iterator[_WordIds]:
        return chain.from_iterable(reversed(self.sentences[i]) for i in range(place - 1, -1, -1))

    def _after(self, place: int) -> Iterator[_WordIds]:
        return chain.from_iterable(self.sentences[i] for i in range(place + 1, len(self.sentences)))


def _nearest(words: Iterable[_WordIds], limit: int) -> list[_WordIds]:
    """Return the first words that have at most `limit` tokens together."""
    taken: list[_WordIds] = []
    for word in words:
        limit -= len(word)
        if limit < 0:
            break
        taken.append(word)
    return taken


def _windows(
    words: _Sentence, encoding: Encoding, sizes: WindowSizes, labels: Sequence[TagId] | None, example: int
) -> list[TokenizedExample]:
    """Return the windows of a sentence without its document."""
    return window_example(
        words,
        encoding,
        labels=labels,
        example=example,
        max_tokens=sizes.max_tokens,
        overlap=sizes.overlap,
        look_ahead=sizes.look_ahead,
    )
