from .cells import TUNING as TUNING
from .config import load_study as load_study
from .runner import describe_study as describe_study, run_study as run_study
