from .bulk_options import BulkOptions as BulkOptions, Workers as Workers
from .bulk_progress import ProgressLine as ProgressLine
from .bulk_run import run_bulk as run_bulk
