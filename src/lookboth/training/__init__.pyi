from .adaptation_texts import refuse_evaluated as refuse_evaluated
from .batches import RunBatches as RunBatches, find_pad_id as find_pad_id
from .best_weights import History as History
from .checkpoints import load_weights as load_weights
from .classifier import (
    Prepared as Prepared,
    prepare_classifier as prepare_classifier,
    train_classifier as train_classifier,
)
from .continuation import (
    continued as continued,
    start_backbone as start_backbone,
    start_folder as start_folder,
)
from .distributed_work import score_tests as score_tests, share_labeling as share_labeling
from .folder_claim import claim_folder as claim_folder, hash_examples as hash_examples
from .footprint import estimate as estimate
from .frozen_states import (
    share_frozen_states as share_frozen_states,
    share_lower_states as share_lower_states,
)
from .labeler_building import Base as Base, build_base as build_base
from .loss_callbacks import Diverged as Diverged
from .process_group import (
    ProcessGroup as ProcessGroup,
    leave_process_group as leave_process_group,
    require_single_process as require_single_process,
)
from .run_finishing import (
    DevScorer as DevScorer,
    Start as Start,
    TrainedRun as TrainedRun,
    finish_run as finish_run,
    label_texts_of as label_texts_of,
    labels_of as labels_of,
)
from .splits import (
    Splits as Splits,
    data_settings as data_settings,
    read_options as read_options,
    read_splits as read_splits,
    sample as sample,
)
from .teachers import describe_teacher as describe_teacher
from .trainer import fit as fit, read_config_lines as read_config_lines
from .training_runs import adapt as adapt, leave_gpu as leave_gpu, train as train, train_one as train_one
