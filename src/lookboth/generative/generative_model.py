"""The weights of a generative labeler."""

from dataclasses import dataclass
from typing import Any

import torch

from lookboth.models import LanguageModel


@dataclass(frozen=True)
class GenerativeModel:
    """The weights of a generative labeler.

    Args:
        backbone: with its adapter, as it is saved.
        language: the language model around it.
    """

    backbone: Any
    language: LanguageModel

    @property
    def module(self) -> LanguageModel:
        """The module with all weights."""
        return self.language

    @property
    def compute_dtype(self) -> torch.dtype:
        """Arithmetic of backbone and head."""
        return self.language.compute_dtype


def bare_backbone(backbone: Any) -> Any:
    """Return a backbone without PEFT's wrapper; its LoRA layers stay in it."""
    return backbone.get_base_model() if hasattr(backbone, "peft_config") else backbone
