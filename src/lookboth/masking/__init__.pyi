from .applied_plan import STATE as STATE
from .attention import (
    IS_STOCK as IS_STOCK,
    apply_plan as apply_plan,
    change_backend as change_backend,
    fit_plan as fit_plan,
    get_plan as get_plan,
    is_stock as is_stock,
    own_plan as own_plan,
    remove_plan as remove_plan,
    under_plan as under_plan,
)
from .backends import PREFIX as PREFIX, computes_in_halves as computes_in_halves
from .gates import set_gates as set_gates
from .incremental import IncrementalPass as IncrementalPass, require_finite as require_finite
from .incremental_proof import prove_incremental as prove_incremental
from .notation import Reach as Reach, check_layers as check_layers, read_layers as read_layers
from .packed_rows import (
    KnownRows as KnownRows,
    find_segments as find_segments,
    only_prompt_looks_right as only_prompt_looks_right,
    with_known_rows as with_known_rows,
)
from .plan import MaskPlan as MaskPlan, check_plan as check_plan, group_plans as group_plans
from .plan_picture import picture as picture
from .proof import Proof as Proof, prove as prove
from .query_blocks import keeps_scores as keeps_scores
from .structure import (
    find_stack as find_stack,
    first_position as first_position,
    max_positions as max_positions,
    steady_positions as steady_positions,
)
from .varlen import VARLEN as VARLEN
