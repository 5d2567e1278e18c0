from .audit import audit_data as audit_data
from .bulk import run_bulk as run_bulk
from .config import RunConfig as RunConfig, load_recipe as load_recipe, parse_config as parse_config
from .data import check_data as check_data, read_split as read_split
from .data.conversion import convert as convert
from .demo import run_demo as run_demo
from .errors import (
    ConfigError as ConfigError,
    DataError as DataError,
    LookbothError as LookbothError,
    ModelError as ModelError,
    PlanError as PlanError,
)
from .evaluation import calibrate_folder as calibrate_folder, evaluate_labeler as evaluate_labeler
from .generative import GenerativeLabeler as GenerativeLabeler
from .inference import suggest as suggest
from .labelers import (
    Labeler as Labeler,
    LabelerPool as LabelerPool,
    fix_labels_to_folder as fix_labels_to_folder,
    inspect_model as inspect_model,
    merge_to_folder as merge_to_folder,
    open_labeler as open_labeler,
    prove_model as prove_model,
)
from .masking import (
    MaskPlan as MaskPlan,
    apply_plan as apply_plan,
    get_plan as get_plan,
    picture as picture,
    prove as prove,
    remove_plan as remove_plan,
)
from .onnx import OnnxLabeler as OnnxLabeler, export_labeler as export_labeler
from .reporting import write_report as write_report
from .study import describe_study as describe_study, load_study as load_study, run_study as run_study
from .training import adapt as adapt, train as train
from .types import Example as Example, Prediction as Prediction, Span as Span

__version__: str
