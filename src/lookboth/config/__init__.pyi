from .method_sections import (
    AdaptationConfig as AdaptationConfig,
    GenerativeConfig as GenerativeConfig,
    SearchConfig as SearchConfig,
)
from .recipe import RunConfig as RunConfig
from .recipe_files import (
    as_compared as as_compared,
    document_keys as document_keys,
    load_recipe as load_recipe,
    nest as nest,
    overlay as overlay,
    parse_config as parse_config,
    read_toml as read_toml,
    read_value as read_value,
)
from .training_sections import (
    AdapterConfig as AdapterConfig,
    DataConfig as DataConfig,
    HeadConfig as HeadConfig,
    TrainConfig as TrainConfig,
)
