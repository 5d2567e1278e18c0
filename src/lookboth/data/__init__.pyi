from .alignment import Encoding as Encoding, WordEncoder as WordEncoder, join_words as join_words
from .batch_facts import BatchFacts as BatchFacts, place_inputs as place_inputs
from .batch_scheduling import (
    START_TOKENS as START_TOKENS,
    Layout as Layout,
    cheapest_batches as cheapest_batches,
    padding_share as padding_share,
    schedule_batches as schedule_batches,
    split_evenly as split_evenly,
)
from .charspans import (
    END_KEYS as END_KEYS,
    LABEL_KEYS as LABEL_KEYS,
    START_KEYS as START_KEYS,
    CharSpan as CharSpan,
    first_of as first_of,
    parse_char_spans as parse_char_spans,
    settle_labels as settle_labels,
    spans_over_words as spans_over_words,
)
from .checks import DataReport as DataReport, check_data as check_data, count_split as count_split
from .column_layout import begins_document as begins_document
from .conll import read_conll as read_conll, stream_words as stream_words
from .contexts import Context as Context, WindowSizes as WindowSizes, tokenize_words as tokenize_words
from .counting import (
    COUNTINGS as COUNTINGS,
    Claim as Claim,
    Counting as Counting,
    OffsetReading as OffsetReading,
    Ruler as Ruler,
    differing_readings as differing_readings,
    find_counting as find_counting,
    find_said as find_said,
    is_true as is_true,
)
from .demonstration_pools import (
    DemonstrationPool as DemonstrationPool,
    read_demonstrations as read_demonstrations,
)
from .documents import (
    NAME_BORDERS as NAME_BORDERS,
    NO_DOCUMENTS as NO_DOCUMENTS,
    Documents as Documents,
    as_one_document as as_one_document,
    document_numbers as document_numbers,
    has_documents as has_documents,
    join_documents as join_documents,
    report_no_documents as report_no_documents,
    require_columns as require_columns,
    within_part as within_part,
    words_around as words_around,
)
from .encodings import (
    REPLACE as REPLACE,
    encoded_as as encoded_as,
    preview as preview,
    require_encoding as require_encoding,
)
from .fields import document_of as document_of
from .jsonfile import (
    is_text_with_entities as is_text_with_entities,
    open_records as open_records,
    open_values as open_values,
    parse_objects as parse_objects,
    without_repeated_keys as without_repeated_keys,
)
from .jsonl import is_rejected as is_rejected, read_jsonl as read_jsonl
from .label_texts import (
    Labels as Labels,
    LabelText as LabelText,
    describe_labels as describe_labels,
    encode_label as encode_label,
    join_label_texts as join_label_texts,
    labels_file as labels_file,
    parse_labels as parse_labels,
    split_labels as split_labels,
)
from .labeled_rows import Table as Table, read_word_rows as read_word_rows
from .lines import (
    json_line as json_line,
    read_bytes as read_bytes,
    read_lines as read_lines,
    read_whole as read_whole,
    stream_file as stream_file,
    stream_lines as stream_lines,
)
from .nesting import (
    NESTED as NESTED,
    ONE_LABEL as ONE_LABEL,
    SEQUENCE_TAGS as SEQUENCE_TAGS,
    depths_of as depths_of,
    do_overlap as do_overlap,
    encode_nested as encode_nested,
    keep_overlaps as keep_overlaps,
    nested_tags as nested_tags,
    overlaps_kept as overlaps_kept,
    require_depth as require_depth,
)
from .packed_files import (
    UNPACKING_ERRORS as UNPACKING_ERRORS,
    open_unpacked as open_unpacked,
    stem_of as stem_of,
    suffix_of as suffix_of,
)
from .packing import (
    build_arrays as build_arrays,
    build_batch as build_batch,
    group_rows as group_rows,
)
from .problems import ProblemLog as ProblemLog, StrictLog as StrictLog, require_clean as require_clean
from .rawtext import read_raw_text as read_raw_text, read_unlabeled as read_unlabeled
from .readers import (
    ReadOptions as ReadOptions,
    read_dataset as read_dataset,
    read_split as read_split,
    read_text as read_text,
)
from .relabeling import relabel_file as relabel_file
from .repeated_keys import parse_json as parse_json, repeated_key as repeated_key
from .schemes import (
    OUTSIDE as OUTSIDE,
    SCHEMES as SCHEMES,
    decode_tags as decode_tags,
    encode_spans as encode_spans,
    find_tag_errors as find_tag_errors,
    label_of as label_of,
    parse_tag as parse_tag,
    repair_tags as repair_tags,
    resolve_scheme as resolve_scheme,
    tags_for_labels as tags_for_labels,
)
from .sentence_groups import (
    Group as Group,
    divide_groups as divide_groups,
    group_sentences as group_sentences,
    without_duplicates as without_duplicates,
)
from .sentences import Sentence as Sentence, build_dataset as build_dataset
from .separators import delimiter_of as delimiter_of, separator_of_header as separator_of_header
from .similar_labels import (
    DIFFERENCE as DIFFERENCE,
    similar_to as similar_to,
    similarity_messages as similarity_messages,
)
from .sources import (
    licence_of as licence_of,
    map_labels as map_labels,
    read_source as read_source,
    split_name as split_name,
    whole_split as whole_split,
)
from .spantexts import sentence_over as sentence_over, text_sentence as text_sentence
from .split_finding import find_splits as find_splits, source_path as source_path, split_of as split_of
from .splitters import (
    example_of_words as example_of_words,
    named_splitter as named_splitter,
    split_with as split_with,
)
from .suffixes import (
    CONLL_SUFFIXES as CONLL_SUFFIXES,
    FILE_SUFFIXES as FILE_SUFFIXES,
    JSON_LINES_SUFFIXES as JSON_LINES_SUFFIXES,
    JSONL_SUFFIXES as JSONL_SUFFIXES,
    PARQUET_SUFFIXES as PARQUET_SUFFIXES,
)
from .text_tables import texts_of_table as texts_of_table
from .transitions import allowed_transitions as allowed_transitions
from .whole_texts import (
    labels_prefix as labels_prefix,
    require_one_label as require_one_label,
    text_and_offsets as text_and_offsets,
    text_of as text_of,
    tokenize_texts as tokenize_texts,
    window_texts as window_texts,
)
from .windows import MovingWindow as MovingWindow, window_example as window_example
from .words import (
    TextSplitter as TextSplitter,
    example_from_text as example_from_text,
    split_words as split_words,
)
