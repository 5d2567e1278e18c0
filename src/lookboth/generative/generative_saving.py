"""Saving and loading generative labelers: adapter, labels, template and demonstrations in one folder."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lookboth.errors import ModelError, first_line
from lookboth.files import open_to_readers, write_json, write_whole
from lookboth.generative.generative_config import GenerativeLabelerConfig
from lookboth.generative.generative_model import GenerativeModel, bare_backbone
from lookboth.labelers import (
    ADAPTER_FOLDER,
    BACKBONE_FOLDER,
    CONFIG_FILE,
    LoadOptions,
    compute_dtype,
    generative_card,
    load_backbone_and_tokenizer,
    parse_settings,
)
from lookboth.models import (
    LanguageModel,
    load_language_model,
    save_adapter,
)
from lookboth.types import Example, Span

DEMONSTRATIONS_FILE = "demonstrations.jsonl"


def save_parts(
    config: GenerativeLabelerConfig,
    model: GenerativeModel,
    tokenizer: Any,
    demonstrations: Iterable[Example],
    folder: str | Path,
) -> Path:
    """Write the parts of a generative labeler into `folder`, including the sentences used as demonstrations."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # With the adapter "none" nothing was trained, so no weights are written.
    if config.adapter in {"lora", "qlora"}:
        save_adapter(model.backbone, folder / ADAPTER_FOLDER, base=config.base, revision=config.revision)
    elif config.adapter in {"full", "merged"}:
        model.language.model.save_pretrained(folder / BACKBONE_FOLDER)
    tokenizer.save_pretrained(folder)
    _write_examples(folder / DEMONSTRATIONS_FILE, demonstrations)
    write_json(folder / CONFIG_FILE, config.to_dict())
    write_whole(folder / "README.md", [generative_card(config)], follow_links=False)
    open_to_readers(folder)
    return folder


def load_parts(
    folder: Path, data: Mapping[str, Any], options: LoadOptions
) -> tuple[GenerativeLabelerConfig, GenerativeModel, Any, list[Example]]:
    """Return config, weights, tokenizer and demonstrations from the output of `save_parts`.

    Raises:
        ModelError: the folder is incomplete or does not fit its base.
    """
    config = parse_settings(folder, data, GenerativeLabelerConfig.from_dict)
    if options.base is not None:
        # The revision belongs to the hub id that `base` replaces.
        config = replace(config, base=options.base, revision=None)
    backbone, tokenizer = load_backbone_and_tokenizer(folder, config, options)
    # Full fine-tuning also changes the vocabulary head, which is saved with a backbone of its own.
    own = config.adapter in {"full", "merged"}
    name = str((folder / BACKBONE_FOLDER).absolute()) if own else config.base
    language = LanguageModel(
        load_language_model(
            name,
            bare_backbone(backbone),
            revision=config.revision,
            trust_remote_code=options.trust_remote_code,
        ),
        compute_dtype=compute_dtype(options),
    )
    pool = _read_examples(folder / DEMONSTRATIONS_FILE)
    return config, GenerativeModel(backbone, language.eval()), tokenizer, pool


def _write_examples(file: Path, examples: Iterable[Example]) -> None:
    rows = (
        {
            "words": e.words,
            "spans": [list(span) for span in e.spans],
            # Written only by labelers with labels of several data sets.
            **({"label_set": e.label_set} if e.label_set else {}),
        }
        for e in examples
    )
    write_whole(file, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows), follow_links=False)


def _read_examples(file: Path) -> list[Example]:
    try:
        # `splitlines` would also split at characters such as U+2028, which JSON leaves inside strings.
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
        return [_read_example(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file}: cannot be read: {first_line(error)}") from error


def _read_example(row: Mapping[str, Any]) -> Example:
    spans = tuple(Span(*span) for span in row["spans"])
    return Example(tuple(row["words"]), spans, label_set=tuple(map(str, row.get("label_set", ()))))
