from .accelerate_internals import (
    LaunchSettings as LaunchSettings,
    launch_settings as launch_settings,
    shard_by_layers as shard_by_layers,
)
from .bitsandbytes_internals import keep_quantized_layout as keep_quantized_layout
from .datasets_internals import is_lazy as is_lazy
from .light_start import (
    import_modeling as import_modeling,
    is_own_process as is_own_process,
    own_process as own_process,
)
from .light_training import import_training as import_training
from .memory_settings import keep_few_products as keep_few_products, return_free_memory as return_free_memory
from .peft_internals import (
    adapter_configs as adapter_configs,
    cast_lora_inputs as cast_lora_inputs,
    forget_written as forget_written,
    wrap_as_named as wrap_as_named,
    write_with_adapter as write_with_adapter,
)
from .ray_internals import private_environment as private_environment, quiet_environment as quiet_environment
from .torch_internals import (
    has_native_bf16 as has_native_bf16,
    has_onednn_product as has_onednn_product,
    is_hooked as is_hooked,
    is_patched as is_patched,
    onednn_product as onednn_product,
    pack_weight as pack_weight,
    replace_forward as replace_forward,
    weight_states as weight_states,
    with_forwards as with_forwards,
    without_meta_values as without_meta_values,
)
from .trainer_internals import LossScalingTrainer as LossScalingTrainer, use_one_gpu as use_one_gpu
from .transformers_internals import (
    LayerParts as LayerParts,
    PipelineCall as PipelineCall,
    asks_for_more as asks_for_more,
    attention_function as attention_function,
    attention_name as attention_name,
    cache_argument as cache_argument,
    checkpoints_in_old_format as checkpoints_in_old_format,
    chooses_by_name as chooses_by_name,
    find_attention as find_attention,
    interface_call as interface_call,
    is_usual_attention as is_usual_attention,
    keep_first_keys as keep_first_keys,
    layer_parts as layer_parts,
    make_cache as make_cache,
    read_gguf_weights as read_gguf_weights,
    read_pipeline_call as read_pipeline_call,
    replace_pipeline as replace_pipeline,
    set_attention_name as set_attention_name,
    under_attention_name as under_attention_name,
)
from .uvicorn_internals import punctual as punctual
