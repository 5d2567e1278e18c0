"""The model card written with a labeler."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookboth.models.labeler_config import LabelerConfig


def model_card(config: "LabelerConfig") -> str:
    """Return the README.md of a saved labeler: what it is, how to use it, what it scored."""
    labels = ", ".join(f"`{label}`" for label in config.labels)
    lines = [
        "---",
        "library_name: lookboth",
        "pipeline_tag: token-classification",
        f"base_model: {json.dumps(config.base)}",
        "tags: [token-classification, sequence-labeling, lookboth]",
        "---",
        "",
        f"# Sequence labeler on {config.base}",
        "",
        f"Labels: {labels}. Scheme {config.scheme}; each word is labeled on its "
        f"{config.label_on} sub-token{'s (average)' if config.label_on == 'mean' else ''}.",
        "",
        f"Mask plan: `{config.plan}` over {config.plan.num_layers} layers. Adapter: {config.adapter}.",
        "",
        "```python",
        "from lookboth import Labeler",
        "",
        'labeler = Labeler.from_pretrained("PATH OR HUB ID OF THIS FOLDER")',
        'labeler.predict("Ada Lovelace was born in London.")',
        "```",
        "",
    ]
    return "\n".join([*lines, *_score_table(config.scores), *_training(config.scores)])


def _score_table(scores: dict[str, Any]) -> list[str]:
    tests = scores.get("test", {})
    if not tests:
        return []
    rows = [f"| {name} | {100 * value:.1f} |" for name, value in tests.items()]
    return ["## Scores", "", "Strict entity-level micro F1.", "", "| data | F1 |", "|---|---|", *rows, ""]


def _training(scores: dict[str, Any]) -> list[str]:
    recipe = scores.get("recipe")
    if not recipe:
        return []
    return ["## Training", "", "```json", json.dumps(recipe, indent=2, ensure_ascii=False), "```", ""]
