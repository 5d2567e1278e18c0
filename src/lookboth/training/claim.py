"""Which recipe and data a folder is of, so that no run goes on from what another left there."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lookboth.config import RunConfig, as_compared
from lookboth.errors import DataError
from lookboth.files import read_state, write_json
from lookboth.run_folder import RunFolder, TrainingFolder
from lookboth.types import Example


def claim_folder(out: Path, config: RunConfig, data: Mapping[str, Sequence[Example]]) -> None:
    """Make `out` the folder of one recipe on one data.

    Args:
        out: made when it is missing.
        config: the recipe.
        data: what the weights depend on, by role: train, dev, text.

    Raises:
        DataError: it holds a run that another recipe began, or other data.
    """
    run = RunFolder(out)
    out.mkdir(parents=True, exist_ok=True)
    recipe = config.to_dict()
    hashes = {role: hash_examples(examples) for role, examples in data.items()}
    if _is_begun(run):
        if as_compared(_read(run.recipe)) != as_compared(recipe):
            raise DataError(
                f"{out}: holds a run of another recipe. Give another --out, or remove the folder."
            )
        stored = _read(run.data_hashes)
        changed = [role for role, found in hashes.items() if stored.get(role, found) != found]
        if changed:
            named = "; ".join(f"{role}: {', '.join(_sources(config, role))}" for role in changed)
            raise DataError(
                f"{out}: holds a run on other data ({named}). Give another --out, or remove the folder."
            )
    write_json(run.recipe, recipe)
    write_json(run.data_hashes, hashes)


def hash_examples(examples: Sequence[Example]) -> str:
    """Return a hash of texts and labels in their order; which file and line they are from does not count.

    >>> one, same = (Example(("so", "it", "is"), source=source) for source in ("a:1", "b:7"))
    >>> hash_examples([one]) == hash_examples([same]) != hash_examples([same, same])
    True
    """
    digest = hashlib.sha256()
    for example in examples:
        content = (example.words, example.spans, example.text, example.text_labels)
        digest.update(json.dumps(content).encode())
    return digest.hexdigest()


def _is_begun(run: RunFolder) -> bool:
    """Return whether the folder holds what a recipe has trained: seeds, or an adaptation that began or ended."""
    begun = RunFolder.of_seeds(run.path) or TrainingFolder(run.path).checkpoints.exists() or run.run.exists()
    return run.recipe.is_file() and bool(begun)


def _sources(config: RunConfig, role: str) -> Sequence[str]:
    """Return where the data of a role comes from."""
    data, adaptation = config.data, config.adaptation
    named = {"dev": data.dev, "text": () if adaptation is None else adaptation.text}.get(role)
    return named or data.train


def _read(file: Path) -> dict[str, Any]:
    return read_state(file, dict) or {}
