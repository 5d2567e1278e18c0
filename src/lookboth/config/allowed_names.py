"""The names that a recipe may choose from where the choices are implemented in folders above this one.

A recipe is checked before anything is loaded, so its allowed values are declared here, below the registries that
implement them. A test compares each list with the keys of its registry.
"""

from typing import Literal

# models.heads.HEADS
HeadKind = Literal["linear", "crf", "context_gate", "multi_label", "open", "nested"]
# training.METHODS
MethodName = Literal["classifier", "search", "distill", "sift", "instruction_tuning", "icl"]
# search.STRATEGIES
StrategyName = Literal["halving", "shared", "layers", "gates", "predictor"]
# generative.codecs.CODECS
AnswerFormat = Literal["pairs", "tags", "markup", "json"]
