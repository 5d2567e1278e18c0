"""Tiny tokenizers and models, made in memory, one of each kind that real models have."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = (
    "the quick brown fox jumps over the lazy dog while the word is read in a sentence",
    "Ada Lovelace was born in London and worked with Charles Babbage on the Analytical Engine",
    "Toyota opened a new plant near New York in 1993 , it said on Monday .",
    "what is the word for a house in the north of the country ? nobody knows the word !",
)
ENCODER_KINDS = ("wordpiece", "mpnet", "roberta", "modernbert", "xlm-roberta", "deberta-v3")
KINDS = ("byte-bos", "byte-bos-not-added", "byte-plain", "metaspace", "metaspace-legacy", *ENCODER_KINDS)


@lru_cache
def tiny_tokenizer(kind: str) -> Any:
    """Return a tokenizer of one of KINDS.

    byte-bos is Llama 3's kind, byte-bos-not-added GPT-2's (it has a bos token and does not put it before a
    text), byte-plain knows no special token at all, metaspace is SentencePiece as new Llama-2 files write it,
    metaspace-legacy as older ones do (a normalizer puts the boundary), wordpiece is BERT's, lowercased. The
    other encoders are transformers' own tokenizer classes with a vocabulary trained here; ModernBERT has none.
    """
    if kind == "wordpiece":
        return _wordpiece()
    if kind == "modernbert":
        return _modernbert()
    if kind in ENCODER_KINDS:
        return _of_class(kind)
    return _metaspace(legacy=kind.endswith("legacy")) if kind.startswith("metaspace") else _byte_level(kind)


def _byte_level(kind: str) -> Any:
    special = [] if kind == "byte-plain" else ["<|begin|>", "<|end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if kind == "byte-bos":
        begin = tokenizer.token_to_id("<|begin|>")
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", begin)]
        )
    names = {"bos_token": "<|begin|>", "eos_token": "<|end|>"} if special else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def _metaspace(*, legacy: bool) -> Any:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    if legacy:
        tokenizer.pre_tokenizer = None
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def _wordpiece() -> Any:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    border = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=border)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
    )


def _modernbert() -> Any:
    base = _byte_level("byte-plain").backend_tokenizer
    tokenizer = Tokenizer.from_str(base.to_str())
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = normalizers.NFC()
    border = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=border)
    names = dict(
        zip(("unk_token", "cls_token", "sep_token", "pad_token", "mask_token"), special, strict=True)
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def _of_class(kind: str) -> Any:
    """Return a tokenizer of transformers' class for RoBERTa, MPNet, XLM-R or DeBERTa-v3."""
    import transformers

    if kind == "roberta":
        model = json.loads(_byte_level("byte-plain").backend_tokenizer.to_str())["model"]
        tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *model["vocab"]]
        merges = [tuple(merge) for merge in model["merges"]]
        return transformers.RobertaTokenizer(vocab=_numbered(tokens), merges=merges)
    if kind == "mpnet":
        words = [token for token in _wordpiece().get_vocab() if not token.startswith("[") or token == "[UNK]"]
        return transformers.MPNetTokenizer(
            vocab=_numbered(["<s>", "<pad>", "</s>", "<mask>", *sorted(words)])
        )
    pieces = _unigram_pieces()
    if kind == "xlm-roberta":
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        return transformers.XLMRobertaTokenizer(
            vocab=[(token, 0.0) for token in special] + pieces + [("<mask>", 0.0)]
        )
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    return transformers.DebertaV2Tokenizer(
        vocab=[(token, 0.0) for token in special] + pieces + [("[MASK]", 0.0)], unk_id=3
    )


def _unigram_pieces() -> list[tuple[str, float]]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    alphabet = list("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789.,-'▁")
    trainer = trainers.UnigramTrainer(vocab_size=200, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return [(token, score) for token, score in json.loads(tokenizer.to_str())["model"]["vocab"]]


def _numbered(tokens: list[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def tiny_config(family: str, vocab_size: int) -> Any:
    """Return a 4-layer, 32-wide configuration of "llama", "gpt2" or "gemma3" (every other layer sees 6 tokens)."""
    from transformers import Gemma3TextConfig, GPT2Config, LlamaConfig

    if family == "gpt2":
        return GPT2Config(
            vocab_size=vocab_size, n_embd=32, n_layer=4, n_head=4, n_positions=512, resid_pdrop=0.0,
            embd_pdrop=0.0, attn_pdrop=0.0,
        )  # fmt: skip
    if family == "gemma3":
        return Gemma3TextConfig(
            vocab_size=vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=512,
            sliding_window=6, layer_types=["sliding_attention", "full_attention"] * 2,
        )  # fmt: skip
    return LlamaConfig(
        vocab_size=vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
    )  # fmt: skip


def save_tiny_model(folder: Path, family: str, *, seed: int = 0) -> Path:
    """Write a random model of `family` with a byte-level tokenizer as a safetensors folder."""
    import torch
    from transformers import AutoModel

    tokenizer = tiny_tokenizer("byte-bos-not-added" if family == "gpt2" else "byte-bos")
    torch.manual_seed(seed)
    model = AutoModel.from_config(tiny_config(family, len(tokenizer)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_labeler(
    folder: Path | str,
    *,
    plan: str = "causal",
    label_on: str = "last",
    adapter: str = "lora",
    labels: tuple[str, ...] = ("LOC", "PER"),
    scheme: str = "IOB2",
    max_tokens: int = 128,
    dropout: float = 0.0,
    head: dict[str, Any] | None = None,
    seed: int = 0,
) -> Any:
    """Return a labeler on the model in `folder` with random weights: it predicts nonsense, firmly."""
    import torch

    from lookboth.config.training_sections import AdapterConfig, HeadConfig
    from lookboth.data.alignment import Encoding
    from lookboth.data.nesting import nested_tags
    from lookboth.data.schemes import tags_for_labels
    from lookboth.labelers.labeler import Labeler
    from lookboth.labelers.labeler_config import LabelerConfig
    from lookboth.masking.attention import apply_plan
    from lookboth.masking.plan import MaskPlan
    from lookboth.models.labeler_model import LabelerModel
    from lookboth.models.loading import fingerprint, load_backbone, load_tokenizer
    from lookboth.training.adapters import add_adapter

    settings = HeadConfig(**head or {})
    is_nested = settings.kind == "nested"
    backbone = load_backbone(str(folder), precision="fp32")
    tokenizer = load_tokenizer(str(folder))
    base_fingerprint = fingerprint(backbone)
    mask_plan = MaskPlan.parse(plan, backbone.config.num_hidden_layers)
    torch.manual_seed(seed)
    backbone = add_adapter(apply_plan(backbone, mask_plan), AdapterConfig(kind=adapter, rank=4))
    config = LabelerConfig(
        base=str(folder),
        fingerprint=base_fingerprint,
        plan=mask_plan,
        tags=nested_tags(labels, settings.depth) if is_nested else tags_for_labels(labels, scheme),
        scheme="nested" if is_nested else scheme,
        label_on=label_on,
        encoding=Encoding.detect(tokenizer),
        adapter=adapter,
        head=settings,
        max_tokens=max_tokens,
        overlap=16,
    )
    model = LabelerModel(backbone, config, dropout=dropout)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or name in {"head.weight", "head.steps"}:
                parameter.normal_(std=0.05 if "lora_B" in name else 1.0)
    return Labeler(config, model.eval(), tokenizer)
