"""The model card written with a labeler."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookboth.models.labeler_config import LabelerConfig


def model_card(config: "LabelerConfig") -> str:
    """Return the README.md of a saved labeler: what it is, how to use it, what it scored."""
    labels = ", ".join(f"`{label}`" for label in config.labels)
    of_texts = config.task == "classification"
    kind = "text-classification" if of_texts else "token-classification"
    strict = not of_texts and config.scheme != "plain"
    lines = [
        "---",
        "library_name: lookboth",
        f"pipeline_tag: {kind}",
        f"base_model: {json.dumps(config.base)}",
        f"tags: [{kind}, {'label-supervised' if of_texts else 'sequence-labeling'}, lookboth]",
        "---",
        "",
        f"# {'Text classifier' if of_texts else 'Sequence labeler'} on {config.base}",
        "",
        f"Labels: {labels}. {_how_labeled(config)}",
        "",
        f"Mask plan: `{config.plan}` over {config.plan.num_layers} layers. Adapter: {config.adapter}. "
        f"Head: {config.head}.",
        "",
        *_USAGE,
    ]
    return "\n".join([*lines, *_score_table(config.scores, strict=strict), *_training(config.scores)])


def generative_card(config: Any) -> str:
    """Return the README.md of a saved generative labeler (a GenerativeLabelerConfig)."""
    labels, settings = ", ".join(f"`{label}`" for label in config.labels), config.generative
    shown = f"{settings.k} demonstrations ({settings.demonstrations})" if settings.k else "no demonstrations"
    lines = [
        "---",
        "library_name: lookboth",
        "pipeline_tag: text-generation",
        f"base_model: {json.dumps(config.base)}",
        "tags: [sequence-labeling, generative, lookboth]",
        "---",
        "",
        f"# Generative sequence labeler on {config.base}",
        "",
        f"Labels: {labels}. Answers in the format {settings.format}, {shown}. Adapter: {config.adapter}.",
        "",
        "The sentences it shows as demonstrations are in demonstrations.jsonl.",
        "",
        *_USAGE,
    ]
    strict = config.scheme != "plain"
    return "\n".join([*lines, *_score_table(config.scores, strict=strict), *_training(config.scores)])


_USAGE = (
    "```python",
    "from lookboth import Labeler",
    "",
    'labeler = Labeler.from_pretrained("PATH OR HUB ID OF THIS FOLDER")',
    'labeler.predict("Ada Lovelace was born in London.")',
    "```",
    "",
)


def _how_labeled(config: "LabelerConfig") -> str:
    pooled = {"mean": "the average of all its tokens", "max": "the largest values of all its tokens"}
    on = pooled.get(config.label_on, f"its {config.label_on} token")
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
    rows = [f"| {name} | {100 * value:.1f} |" for name, value in tests.items()]
    return ["## Scores", "", f"{rule}.", "", f"| data | {metric} |", "|---|---|", *rows, ""]


def _training(scores: dict[str, Any]) -> list[str]:
    recipe = scores.get("recipe")
    if not recipe:
        return []
    return ["## Training", "", "```json", json.dumps(recipe, indent=2, ensure_ascii=False), "```", ""]
