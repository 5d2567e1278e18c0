from .answer_parsing import (
    AnswerProblem as AnswerProblem,
    CopyParser as CopyParser,
    MentionParser as MentionParser,
    Parsed as Parsed,
    occurrences as occurrences,
)
from .escaping import (
    escape as escape,
    normalize as normalize,
    read_words as read_words,
    split_unescaped as split_unescaped,
    unescape as unescape,
    write_words as write_words,
)
from .generative_config import GenerativeLabelerConfig as GenerativeLabelerConfig
from .generative_labeler import GenerativeLabeler as GenerativeLabeler
