"""Tiny language models with their vocabulary head."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_writer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random 4-layer Llama that can write, its head tied to its embeddings as SmolLM2's is."""
    import torch
    from tiny import tiny_config, tiny_tokenizer
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("tiny") / "writer"
    tokenizer = tiny_tokenizer("byte-bos")
    config = tiny_config("llama", len(tokenizer))
    config.tie_word_embeddings = True
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
