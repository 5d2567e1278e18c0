"""The run configuration: what a recipe file may say, checked before anything is loaded."""

from lookboth.config.methods import AdaptationConfig, GenerativeConfig, SearchConfig
from lookboth.config.reading import document_keys, load_recipe, nest, overlay, parse_config
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
    "document_keys",
    "load_recipe",
    "nest",
    "overlay",
    "parse_config",
]
