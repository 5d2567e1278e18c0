from .auditing import Audit as Audit, audit_data as audit_data
from .decisions import (
    Decided as Decided,
    apply_decisions as apply_decisions,
    decision_header as decision_header,
)
from .findings import Finding as Finding, FindingKind as FindingKind, find_errors as find_errors
from .learning_curve import LearningCurve as LearningCurve, measure_learning_curve as measure_learning_curve
from .out_of_fold import TagProbs as TagProbs
from .rendering import (
    render_lines as render_lines,
    render_table as render_table,
    replace_spans as replace_spans,
    suggested_predictions as suggested_predictions,
)
