from .confidence import Confidence as Confidence, saved_thresholds as saved_thresholds
from .decoding import (
    decode_tags_constrained as decode_tags_constrained,
    keep_above as keep_above,
    span_scores as span_scores,
)
from .formats import (
    render as render,
    require_place as require_place,
    write_pieces as write_pieces,
    write_predictions as write_predictions,
)
from .inputs import read_documents as read_documents, read_inputs as read_inputs
from .labeling_config import (
    LabelingConfig as LabelingConfig,
    LabelOn as LabelOn,
    require_allowed as require_allowed,
)
from .likelihoods import FORBIDDEN as FORBIDDEN, Likelihood as Likelihood
from .nested_decoding import NestedSpan as NestedSpan, decode_nested as decode_nested
from .online_decoding import decode_online as decode_online
from .pieces import (
    join_scores as join_scores,
    join_texts as join_texts,
    join_words as join_words,
    piece_scores as piece_scores,
    tokenize_for as tokenize_for,
)
from .pipeline import (
    chunks as chunks,
    example_scores as example_scores,
    label_by_label_set as label_by_label_set,
    label_examples as label_examples,
    label_with_probs as label_with_probs,
    log_probs_of as log_probs_of,
    predict_from_scores as predict_from_scores,
    word_log_probs as word_log_probs,
)
from .stream_formats import (
    label_pieces as label_pieces,
    read_pieces as read_pieces,
    render_updates as render_updates,
    require_stream_format as require_stream_format,
)
from .suggestions import render_suggestions as render_suggestions, suggest as suggest
from .tagged_text import StreamUpdate as StreamUpdate, TaggedWord as TaggedWord
from .text_labeler import (
    HeadLabeler as HeadLabeler,
    TextLabeler as TextLabeler,
    reading_for as reading_for,
    refuse_demonstrations as refuse_demonstrations,
    require_scores as require_scores,
)
from .word_stream import WindowScorer as WindowScorer, WordStream as WordStream
