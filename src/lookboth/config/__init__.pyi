from .allowed_names import (
    AnswerFormat as AnswerFormat,
    HeadKind as HeadKind,
    MethodName as MethodName,
    StrategyName as StrategyName,
)
from .data_section import DataConfig as DataConfig
from .generative_section import GenerativeConfig as GenerativeConfig
from .method_rules import (
    GENERATIVE_METHODS as GENERATIVE_METHODS,
    WITH_HEAD as WITH_HEAD,
    require_supported as require_supported,
)
from .method_sections import (
    AdaptationConfig as AdaptationConfig,
    DistillConfig as DistillConfig,
    SearchConfig as SearchConfig,
    StartConfig as StartConfig,
)
from .overrides import read_override as read_override, read_value as read_value
from .plan_text import split_repetition as split_repetition
from .recipe import RunConfig as RunConfig
from .recipe_files import (
    as_compared as as_compared,
    document_keys as document_keys,
    load_recipe as load_recipe,
    nest as nest,
    overlay as overlay,
    parse_config as parse_config,
    parse_section as parse_section,
)
from .training_sections import (
    AdapterConfig as AdapterConfig,
    HeadConfig as HeadConfig,
    TrainConfig as TrainConfig,
)
