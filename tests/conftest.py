"""What every test may use: tiny model folders. Nothing here reaches a model hub."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Times depend on what else the machine does.
settings.register_profile("lookboth", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lookboth")
os.environ["HF_HUB_OFFLINE"] = "1"  # a test that would need the Hub fails fast and says so
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture
def progress(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the progress messages and warnings that lookboth has logged so far."""
    caplog.set_level(logging.INFO, "lookboth")
    return lambda: caplog.messages


@pytest.fixture(scope="session")
def tiny_llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random 4-layer Llama with a byte-level tokenizer, as a safetensors folder."""
    from tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "llama", "llama")


@pytest.fixture(scope="session")
def tiny_gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random 4-layer GPT-2 with a byte-level tokenizer, as a safetensors folder."""
    from tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "gpt2", "gpt2")


@pytest.fixture(scope="session")
def tiny_gemma_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random 4-layer Gemma 3 with sliding and full layers and a byte-level tokenizer, as a safetensors folder."""
    from tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "gemma3", "gemma3")
