"""The run configuration: what a recipe file may say, checked before anything is loaded."""

from lookboth.config.methods import AdaptationConfig, GenerativeConfig, SearchConfig
from lookboth.config.reading import (
    as_compared,
    document_keys,
    load_recipe,
    nest,
    overlay,
    parse_config,
)
from lookboth.config.recipe import RunConfig
from lookboth.config.training import AdapterConfig, DataConfig, HeadConfig, TrainConfig

__all__ = [
    "AdaptationConfig",
    "AdapterConfig",
    "DataConfig",
    "GenerativeConfig",
    "HeadConfig",
    "RunConfig",
    "SearchConfig",
    "TrainConfig",
    "as_compared",
    "document_keys",
    "load_recipe",
    "nest",
    "overlay",
    "parse_config",
]
