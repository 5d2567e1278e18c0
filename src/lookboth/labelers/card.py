"""The model card of a saved labeler: description, usage, scores, data, licence, limits, training."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lookboth.data import licence_of
from lookboth.models import BUILTIN

if TYPE_CHECKING:
    from lookboth.labelers.labeler_config import LabelerConfig


def model_card(config: "LabelerConfig") -> str:
    """Return the text of README.md for a saved labeler with a head."""
    of_texts = config.task == "classification"
    kind = "text-classification" if of_texts else "token-classification"
    strict = not of_texts and config.scheme != "plain"
    about = [
        f"# {'Text classifier' if of_texts else 'Sequence labeler'} on {config.base}",
        "",
        f"{_which_labels(config)} {_how_labeled(config)}",
        "",
        f"Mask plan: `{config.plan}` over {config.plan.num_layers} layers. Adapter: {config.adapter}. "
        f"Head: {config.head}.",
        "",
    ]
    tags = [kind, "label-supervised" if of_texts else "sequence-labeling"]
    return _card(config, about, kind=kind, tags=tags, strict=strict)


def generative_card(config: Any) -> str:
    """Return the text of README.md for a saved generative labeler (a GenerativeLabelerConfig)."""
    settings = config.generative
    shown = f"{settings.k} demonstrations ({settings.demonstrations})" if settings.k else "no demonstrations"
    about = [
        f"# Generative sequence labeler on {config.base}",
        "",
        f"Labels: {_names(config.labels)}. Answers in the format {settings.format}, {shown}. "
        f"Adapter: {config.adapter}.",
        "",
        f"The demonstrations are in demonstrations.jsonl{_shown_only(config)}. Other labels and demonstrations are "
        'named at prediction time: `labeler.with_labels(["company", "product"], demonstrations="FILE")`, or '
        "`lookboth predict TEXT --labels 'company, product' --demonstrations FILE`.",
        "",
    ]
    strict, tags = config.scheme != "plain", ["sequence-labeling", "generative"]
    return _card(config, about, kind="text-generation", tags=tags, strict=strict, opening="open_labeler")


def _card(
    config: Any,
    about: Sequence[str],
    *,
    kind: str,
    tags: Sequence[str],
    strict: bool,
    opening: str = "Labeler.from_pretrained",
) -> str:
    recipe = config.scores.get("recipe") or {}
    sources = _sources(recipe)
    lines = [
        "---",
        "library_name: lookboth",
        f"pipeline_tag: {kind}",
        f"base_model: {json.dumps(config.base)}",
        f"tags: [{', '.join([*tags, 'lookboth'])}]",
        "license: other",
        "---",
        "",
        *about,
        *_usage(opening),
        *_score_table(config.scores, strict=strict),
        *_data(sources),
        *_licence(config.base, sources),
        *_limits(config, recipe),
        *_training(recipe),
    ]
    return "\n".join(lines)


def _usage(opening: str) -> list[str]:
    """Return how to use the labeler, with the call that opens it."""
    return [
        "## Use",
        "",
        "`pip install lookboth`, then in Python, or as `lookboth predict TEXT --model FOLDER`:",
        "",
        "```python",
        f"from lookboth import {opening.partition('.')[0]}",
        "",
        f'labeler = {opening}("PATH OR HUB ID OF THIS FOLDER")',
        'labeler.predict("Ada Lovelace was born in London.")',
        "```",
        "",
    ]


def _shown_only(config: Any) -> str:
    """Return the data of demonstrations that were not trained on, with their licences."""
    pool = ((config.scores.get("recipe") or {}).get("generative") or {}).get("pool") or ()
    named = ", ".join(f"{source} (licence: {licence_of(source) or 'see its source'})" for source in pool)
    return f", also sentences of {named}, which were not trained on" if named else ""


def _which_labels(config: "LabelerConfig") -> str:
    if not config.is_open:
        return f"Labels: {_names(config.labels)}."
    return (
        'Labels are named at prediction time: `labeler.with_labels(["company", "product: something that is sold"])`, '
        "or `lookboth predict TEXT --labels 'company, product'`. "
        f"Labels of the training: {_names(config.known_labels)}."
    )


def _names(labels: Sequence[str]) -> str:
    # A label may contain line breaks, which would end the Markdown paragraph.
    return ", ".join(f"`{' '.join(label.split())}`" for label in labels)


def _how_labeled(config: "LabelerConfig") -> str:
    pooled = {"mean": "the average of all its tokens", "max": "the largest values of all its tokens"}
    pooled["mean_special"] = "the average of all its tokens and the special tokens before it"
    pooled["max_score"] = "the largest scores of all its tokens and the special tokens before it"
    on = pooled.get(config.label_on, f"its {config.label_on} token")
    if config.is_nested:
        return f"Spans may overlap (depth {config.head.depth}); each word is labeled on {on}."
    if config.task == "labeling":
        return f"Scheme {config.scheme}; each word is labeled on {on}."
    number = (
        f"any number of labels ({config.head.threshold:g} or more)" if config.multi_label else "one label"
    )
    return f"Each whole text gets {number}, on {on}."


def _score_table(scores: dict[str, Any], *, strict: bool) -> list[str]:
    tests = scores.get("test", {})
    if not tests:
        return []
    metric = scores.get("metric", "micro F1")
    rule = f"Strict entity-level {metric}" if strict else f"{metric[0].upper()}{metric[1:]}"
    of_dev = " (agreement with its teachers)" if scores.get("dev_labels") == "agreement" else ""
    if "folds" in scores:
        of_dev = f" (cross-validation in {scores['folds']} folds, no dev data)"
    rule += f", one run (seed {scores.get('seed')}), dev {100 * scores.get('dev', 0):.1f}{of_dev}."
    rows = [f"| {name} | {100 * value:.1f} |" for name, value in tests.items()]
    return ["## Scores", "", rule, "", f"| data | {metric} |", "|---|---|", *rows, ""]


def _sources(recipe: dict[str, Any]) -> list[str]:
    """Return the training data of the weights: labeled data, and text of an adaptation or a distillation."""
    keys = (("data", "train"), ("adaptation", "text"), ("distill", "texts"))
    parts = [(recipe.get(section) or {}).get(key) for section, key in keys]
    sources = [source for part in parts if part for source in ([part] if isinstance(part, str) else part)]
    return list(dict.fromkeys(sources))


def _data(sources: Sequence[str]) -> list[str]:
    if not sources:
        return []
    rows = [f"| {source} | {licence_of(source) or 'see its source'} |" for source in sources]
    return ["## Data", "", "Trained on:", "", "| data | licence |", "|---|---|", *rows, ""]


def _licence(base: str, sources: Sequence[str]) -> list[str]:
    model = BUILTIN[base].licence if base in BUILTIN else "see its card"
    also = " and from the data above, and their licences apply as well" if sources else ""
    text = f"The weights are derived from {base} (licence: {model}){also}. lookboth itself: Apache-2.0."
    return ["## Licence", "", text, ""]


def _limits(config: Any, recipe: dict[str, Any]) -> list[str]:
    """Return the limits that follow from the settings; the publisher of a labeler may add others."""
    limits = [
        "It finds labels that are similar to those of its training best, and is meant for text similar to its "
        "training data."
        if getattr(config, "is_open", False)
        else f"It predicts the labels {_names(config.labels)} only, and is meant for text similar to its training data."
    ]
    if config.adapter == "qlora":
        limits.append(
            "It was trained and evaluated over its base in 4 bits, and is loaded in 4 bits if bitsandbytes is "
            "installed; otherwise it uses the unquantized base, and scores may differ."
        )
    limits.append(f"Texts longer than {config.max_tokens} tokens are labeled in pieces of that length.")
    if config.context:
        limits.append(
            "It reads a sentence with the sentences around it, so it needs documents, not single sentences."
        )
    measured = getattr(config, "confidence", None)
    if measured is not None and measured.data:
        limits.append(f"Its scores were calibrated on {measured.data}.")
    else:
        limits.append("Its scores were not calibrated: a score of 0.9 may not mean 90 % correct.")
    teachers = (recipe.get("distill") or {}).get("teachers")
    if teachers:
        limits.append(f"It was distilled from {_names(teachers)} and can have the errors of these labelers.")
    seeds = (recipe.get("training") or {}).get("seeds") or ()
    if len(seeds) == 1:
        limits.append("It was trained with one seed; scores vary between seeds.")
    return ["## Limits", "", *(f"- {limit}" for limit in limits), ""]


def _training(recipe: dict[str, Any]) -> list[str]:
    if not recipe:
        return []
    return ["## Training", "", "```json", json.dumps(recipe, indent=2, ensure_ascii=False), "```", ""]
