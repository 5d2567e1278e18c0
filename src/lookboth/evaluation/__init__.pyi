from .breakdowns import (
    FREQUENCIES as FREQUENCIES,
    LENGTHS as LENGTHS,
    confusion as confusion,
    count_by_bucket as count_by_bucket,
    frequency_bucket as frequency_bucket,
    length_bucket as length_bucket,
)
from .command import evaluate_on as evaluate_on
from .corrections import benjamini_hochberg as benjamini_hochberg, holm as holm
from .error_kinds import (
    ErrorKind as ErrorKind,
    SpanPair as SpanPair,
    count_error_kinds as count_error_kinds,
    pair_spans as pair_spans,
)
from .evaluate import (
    Evaluation as Evaluation,
    evaluate_labeler as evaluate_labeler,
    score_predictions as score_predictions,
)
from .labeler_confidence import calibrate_folder as calibrate_folder
from .metrics import (
    conlleval_f1 as conlleval_f1,
    count_per_sentence as count_per_sentence,
    count_spans as count_spans,
    score_spans as score_spans,
    score_tags as score_tags,
    token_accuracy as token_accuracy,
)
from .nested_plans import (
    group_effects as group_effects,
    nested_among as nested_among,
    nested_pairs as nested_pairs,
    nested_plan_test as nested_plan_test,
)
from .predictions import ScoredSentence as ScoredSentence, predictions_by_split as predictions_by_split
from .provenance import fingerprint as fingerprint
from .runfile import (
    Run as Run,
    has_predictions as has_predictions,
    read_predictions as read_predictions,
    read_run as read_run,
    write_predictions as write_predictions,
    write_run as write_run,
)
from .scores import Average as Average, Counts as Counts, Scores as Scores
from .seed_groups import (
    SEED_KEYS as SEED_KEYS,
    SeedGroup as SeedGroup,
    collect_runs as collect_runs,
    seed_table as seed_table,
)
from .seeds import (
    MeanAndSd as MeanAndSd,
    PairedDifference as PairedDifference,
    mean_and_sd as mean_and_sd,
    paired_difference as paired_difference,
)
from .significance import (
    Comparison as Comparison,
    Interval as Interval,
    Randomization as Randomization,
    approximate_randomization as approximate_randomization,
    bootstrap_interval as bootstrap_interval,
    bootstrap_seeds as bootstrap_seeds,
    paired_bootstrap as paired_bootstrap,
    randomize_seeds as randomize_seeds,
    resampled_f1 as resampled_f1,
    sentence_counts as sentence_counts,
)
