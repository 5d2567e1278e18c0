from .auditing import Audit as Audit, audit_data as audit_data
from .findings import Finding as Finding, FindingKind as FindingKind, find_errors as find_errors
from .out_of_fold import TagProbs as TagProbs
from .rendering import (
    render_lines as render_lines,
    render_table as render_table,
    suggested_predictions as suggested_predictions,
)
