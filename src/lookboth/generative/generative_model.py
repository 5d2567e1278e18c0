"""The weights of a generative labeler."""

from dataclasses import dataclass
from typing import Any

import torch

from lookboth.models import LanguageModel


@dataclass(frozen=True)
class GenerativeModel:
    """The weights of a generative labeler.

    Args:
        backbone: the backbone with its adapter, as saved.
        language: the language model that contains it.
    """

    backbone: Any
    language: LanguageModel

    @property
    def module(self) -> LanguageModel:
        """Return the module with all weights."""
        return self.language

    @property
    def compute_dtype(self) -> torch.dtype:
        """Return the dtype of computations in backbone and head."""
        return self.language.compute_dtype


def bare_backbone(backbone: Any) -> Any:
    """Return a backbone without the PEFT wrapper; LoRA layers inside it stay active."""
    return backbone.get_base_model() if hasattr(backbone, "peft_config") else backbone
