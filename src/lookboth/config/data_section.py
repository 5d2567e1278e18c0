"""The recipe section for data: sources, and how they are read."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from lookboth.config.plan_text import accepted_by
from lookboth.config.section import Section
from lookboth.data import Documents, require_encoding, resolve_scheme


class DataConfig(Section):
    """Where the data is and how it is read."""

    train: tuple[str, ...] = Field(
        description="Sources to train on: a file, a folder, a built-in name or a hub id; "
        "'source:split' selects a split.",
    )
    dev: tuple[str, ...] = Field(
        default=(),
        description="Sources for model selection; default: the dev split of the first train source.",
    )
    test: tuple[str, ...] | None = Field(
        default=None,
        description="Sources scored once, after training; default: the test split of the first train source; "
        "[]: none.",
    )
    label_map: dict[str, str] = Field(
        default_factory=dict,
        description="Renames labels; an empty new name drops the label. '*' matches all labels that are not named.",
    )
    max_train_sentences: int | None = Field(
        default=None,
        ge=1,
        description="Train on the first N sentences after a shuffle with data.sample_seed.",
    )
    max_dev_sentences: int | None = Field(
        default=None,
        ge=1,
        description="Score dev on the first N sentences after a shuffle with data.sample_seed.",
    )
    sample_seed: int = Field(
        default=0, description="Seed of the shuffle for data.max_train_sentences and data.max_dev_sentences."
    )
    repair: bool = Field(
        default=False, description="Repair ill-formed tags as conlleval does instead of refusing the data."
    )
    scheme: Annotated[str, accepted_by(resolve_scheme)] | None = Field(
        default=None,
        description="Tag scheme of the files: IOB1, IOB2, IOBES, BILOU, IO (adjacent words of "
        "one label are one span) or plain (one label per word); default: detected, except IO and plain.",
    )
    encoding: Annotated[str, accepted_by(require_encoding)] | None = Field(
        default=None,
        description="Encoding of the files, for example cp1252 or gb18030; default: by the byte order mark, else "
        "UTF-8.",
    )
    word_column: int = Field(
        default=0,
        description="Column of the word in CoNLL files, counted from 0, negative from the right; CoNLL-U: 1.",
    )
    tag_column: int = Field(default=-1, description="Column of the tag in CoNLL files.")
    text_field: str | None = Field(
        default=None,
        description="Column (JSON lines: key) of the texts in classification, and of the words in hub data sets; "
        "default: "
        "the usual names.",
    )
    label_field: str | None = Field(
        default=None,
        description="Column (JSON lines: key) of the labels in classification, and of the tags in hub data sets; "
        "default: the usual names.",
    )
    splitter: str | None = Field(
        default=None,
        description="Splitter of raw text into words, saved with the labeler: char, jieba, pythainlp, fugashi or "
        "spacy:LANGUAGE; default: rules for languages with blanks between words.",
    )
    cut_words: bool = Field(
        default=False,
        description="Cut a word where a span begins or ends inside it, instead of reporting the span; each cut is "
        "a warning.",
    )
    documents: Documents | None = Field(
        default=None,
        description="Borders of documents, for context. file: a file is one document; blank_lines: several blank lines "
        "end a document; default: the borders that the format has (-DOCSTART-, # newdoc, document numbers).",
    )
    class_names: tuple[str, ...] | None = Field(
        default=None,
        description="Names of class numbers, counted from 0, in JSON, Parquet and hub data, and of whole texts in any "
        "format; default: the names that the data have.",
    )
    upper_case: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the training texts that are shown in capitals, for labelers that read headlines.",
    )
    lower_case: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the training texts that are shown in lower case, for labelers that read chat or speech.",
    )
    annotated: dict[str, tuple[str, ...] | Literal["all"]] = Field(
        default_factory=dict,
        description="Labels that each source annotates, named as after label_map, or 'all'. Words that a source "
        "leaves without label may have any label that it does not annotate; default: every source annotates all "
        "labels.",
    )

    @field_validator("train", "dev", "test", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _shares_of_one(self) -> "DataConfig":
        if self.upper_case + self.lower_case > 1:
            raise ValueError(
                f"upper_case = {self.upper_case:g} and lower_case = {self.lower_case:g} are shares of the same texts; "
                "together they must not exceed 1"
            )
        return self

    @field_validator("annotated")
    @classmethod
    def _names_labels(cls, value: Mapping[str, tuple[str, ...] | str]) -> Mapping[str, tuple[str, ...] | str]:
        for source, labels in value.items():
            if not labels or any(": " in label or label in {"", "O"} for label in labels):
                raise ValueError(
                    f"{source!r} has {labels!r}; name at least one label (not 'O', no ': ' in a name), or type 'all'"
                )
        return value
