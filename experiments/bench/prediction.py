"""Ways to label words with a trained token classifier, each over the same sentences."""

from collections.abc import Callable, Sequence

import torch
from alternate import Side, timed

from lookboth.data.sources import read_source
from lookboth.inference.pipeline import label_words, tokenize_for
from lookboth.models.labeler import Labeler
from lookboth.types import Example


def sides(labeler_name: str | None, num_sentences: int, device: str) -> list[Side]:
    """Return the sides: transformers' pipeline at batch 1 and at larger batches, and lookboth."""
    sentences = [e.words for e in list(read_source("wnut17", "dev").examples)[:num_sentences]]
    words = sum(map(len, sentences))
    made = [
        Side(f"pipeline, batch {size}", _pipeline(labeler_name, sentences, device, size), words, "fp32")
        for size in (1, 8, 32)
    ]
    for name, precision, note in (
        (labeler_name, "fp32", ""),
        (labeler_name, "bf16", ""),
        ("fast", "bf16", ", 20 of 30 layers"),
    ):
        labeler = Labeler.from_pretrained(name, device=device, precision=precision, merge=True)
        shown = f"lookboth {precision}" + (", fast" if name == "fast" else "")
        tokens = sum(map(len, tokenize_for(labeler, [Example(words) for words in sentences])))
        made.append(
            Side(
                shown,
                _label(labeler, sentences),
                words,
                f"batches of {labeler.batch_tokens} tokens{note}",
                tokens,
            )
        )
        one = _one_by_one(labeler, sentences)
        made.append(Side(f"{shown}, one by one", one, words, f"one text at a time{note}", tokens))
    return made


def _pipeline(
    name: str | None, sentences: Sequence[Sequence[str]], device: str, size: int
) -> Callable[[], float]:
    """Return a round of transformers' own token classifier of the same size, random head."""
    from transformers import AutoModelForTokenClassification, pipeline

    from lookboth.models.folders import find_folder
    from lookboth.models.labeler_config import read_config
    from lookboth.models.loading import load_tokenizer, resolve_model

    config = read_config(find_folder(name))
    base = resolve_model(config.base)
    model = AutoModelForTokenClassification.from_pretrained(
        base, num_labels=len(config.tags), dtype=torch.float32
    )
    tokenizer = load_tokenizer(config.base)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    pipe = pipeline("token-classification", model=model, tokenizer=tokenizer, device=device)
    texts = [" ".join(words) for words in sentences]
    return lambda: timed(lambda: pipe(texts, batch_size=size))


def _label(labeler: Labeler, sentences: Sequence[Sequence[str]]) -> Callable[[], float]:
    return lambda: timed(lambda: list(label_words(labeler, sentences)))


def _one_by_one(labeler: Labeler, sentences: Sequence[Sequence[str]]) -> Callable[[], float]:
    return lambda: timed(lambda: [list(label_words(labeler, [words])) for words in sentences])
