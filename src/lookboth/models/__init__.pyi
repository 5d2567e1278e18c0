from .adapter_files import (
    WEIGHTS_FILE as WEIGHTS_FILE,
    load_adapter as load_adapter,
    read_adapter as read_adapter,
    save_adapter as save_adapter,
)
from .arithmetic import compute_in as compute_in
from .builtin_models import BUILTIN as BUILTIN, resolve_model as resolve_model
from .fast_form import FastForm as FastForm
from .folding import (
    has_adapter as has_adapter,
    merge_for_good as merge_for_good,
    plain_places as plain_places,
    sharing_copy as sharing_copy,
)
from .incremental_scorer import IncrementalScorer as IncrementalScorer
from .labeler_model import LABEL_POOLING as LABEL_POOLING, LabelerModel as LabelerModel
from .language_model import LanguageModel as LanguageModel, load_language_model as load_language_model
from .loading import (
    Precision as Precision,
    default_device as default_device,
    fingerprint as fingerprint,
    has_four_bits as has_four_bits,
    load_backbone as load_backbone,
    load_config as load_config,
    load_saved_tokenizer as load_saved_tokenizer,
    load_tokenizer as load_tokenizer,
    torch_dtype as torch_dtype,
)
from .lora import (
    attach_pairs as attach_pairs,
    fill_pairs as fill_pairs,
    paired_weights as paired_weights,
    stock_name as stock_name,
)
from .mixed_pass import mixed_logits as mixed_logits, mixing_key as mixing_key
from .products import OneDnnLinear as OneDnnLinear
from .quick_building import build_empty as build_empty
from .shared_backbone import (
    SharedBackbone as SharedBackbone,
    release_backbone as release_backbone,
    row_pairs as row_pairs,
    share_backbone as share_backbone,
)
from .shortening import cut_config as cut_config
from .soft_loss import NO_LABEL as NO_LABEL, SoftLoss as SoftLoss
from .stock import plan_as_made as plan_as_made, takes_plans as takes_plans, use_plan as use_plan
from .text_pass import (
    layer_states as layer_states,
    modules_that_read_text as modules_that_read_text,
    pass_over_text as pass_over_text,
)
from .untrusted import (
    as_model_error as as_model_error,
    check_folder as check_folder,
    read_object as read_object,
    read_weights as read_weights,
)
