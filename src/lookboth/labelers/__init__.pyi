from .card import generative_card as generative_card
from .fixed_labels import LabelVectors as LabelVectors
from .folders import (
    find_folder as find_folder,
    model_digest as model_digest,
    name_labelers as name_labelers,
    split_name as split_name,
)
from .inspect import inspect_model as inspect_model, prove_model as prove_model
from .labeler import (
    Labeler as Labeler,
    load_labeler as load_labeler,
    require_fixed_labels as require_fixed_labels,
    require_head as require_head,
)
from .labeler_config import (
    CONFIG_FILE as CONFIG_FILE,
    KIND_KEY as KIND_KEY,
    LabelerConfig as LabelerConfig,
    is_labeler as is_labeler,
    parse_settings as parse_settings,
    read_confidence as read_confidence,
    read_config as read_config,
    read_settings as read_settings,
)
from .labeler_pool import LabelerPool as LabelerPool
from .labeling_settings import labeling_from_dict as labeling_from_dict, labeling_to_dict as labeling_to_dict
from .merging import (
    Merged as Merged,
    fix_labels_to_folder as fix_labels_to_folder,
    merge_backbone as merge_backbone,
    merge_labeler as merge_labeler,
    merge_to_folder as merge_to_folder,
)
from .mixed_scoring import mixed_scores as mixed_scores, predict_mixed as predict_mixed
from .opening import (
    LoadOptions as LoadOptions,
    kind_of as kind_of,
    open_labeler as open_labeler,
    resolve as resolve,
)
from .reading_back import (
    read_back as read_back,
    read_back_adapter as read_back_adapter,
    read_back_backbone as read_back_backbone,
)
from .saved_settings import (
    MAX_LAYERS as MAX_LAYERS,
    card_scores as card_scores,
    numbered as numbered,
    optional as optional,
    setting as setting,
    strings as strings,
    texts as texts,
    token_ids as token_ids,
)
from .saving import (
    ADAPTER_FOLDER as ADAPTER_FOLDER,
    BACKBONE_FOLDER as BACKBONE_FOLDER,
    check_special_tokens as check_special_tokens,
    compute_dtype as compute_dtype,
    load_backbone_and_tokenizer as load_backbone_and_tokenizer,
    read_head as read_head,
)
from .upgrades import FORMAT_VERSION as FORMAT_VERSION
