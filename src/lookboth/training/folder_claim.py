"""Recipe and data hashes of an output folder; a run resumes only with the same recipe and data."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lookboth.config import RunConfig, as_compared
from lookboth.errors import DataError
from lookboth.files import read_state, write_json
from lookboth.run_folder import RunFolder, TrainingFolder
from lookboth.types import Example


def claim_folder(
    out: Path,
    config: RunConfig,
    data: Mapping[str, Sequence[Example]],
    teachers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Record the recipe and data of a run in `out`, or check that they are the recorded ones.

    Args:
        out: output folder; created if missing.
        config: the recipe.
        data: the examples that determine the weights, by role: train, dev, text, distill texts.
        teachers: hash of each teacher of a distillation, by name.

    Raises:
        DataError: the folder holds an unfinished or finished run of another recipe, or on other data.
    """
    run = RunFolder(out)
    out.mkdir(parents=True, exist_ok=True)
    recipe = config.to_dict()
    hashes = {
        role: hash_examples(examples, documents=bool(config.context)) for role, examples in data.items()
    }
    hashes |= {f"teacher {name}": digest for name, digest in teachers.items()}
    # Without trained results there is nothing to mix up, so the folder may change its recipe.
    if _is_begun(run):
        if as_compared(_read(run.recipe)) != as_compared(recipe):
            raise DataError(
                f"{out}: holds a run of another recipe. Give another --out, or remove the folder."
            )
        stored = _read(run.data_hashes)
        changed = [role for role, found in hashes.items() if stored.get(role, found) != found]
        if changed:
            named = "; ".join(_describe(config, role) for role in changed)
            raise DataError(
                f"{out}: holds a run on other data ({named}). Give another --out, or remove the folder."
            )
    write_json(run.recipe, recipe)
    write_json(run.data_hashes, hashes)


def hash_examples(examples: Sequence[Example], *, documents: bool = False) -> str:
    """Return a hash of texts and labels in order; file names and line numbers do not count.

    Args:
        examples: the texts.
        documents: whether the other texts of their documents count.

    >>> one, same = (Example(("so", "it", "is"), source=source) for source in ("a:1", "b:7"))
    >>> hash_examples([one]) == hash_examples([same]) != hash_examples([same, same])
    True
    """
    digest = hashlib.sha256()
    for example in examples:
        content = (example.words, example.spans, example.text, example.text_labels)
        digest.update(json.dumps(content).encode())
    if documents:
        found = {id(example.document): example.document for example in examples}
        numbers = {key: number for number, key in enumerate(found)}
        places = [(numbers[id(example.document)], example.place) for example in examples]
        digest.update(json.dumps([places, *found.values()]).encode())
    return digest.hexdigest()


def _is_begun(run: RunFolder) -> bool:
    """Return whether the folder holds trained results: seed folders, or an unfinished or finished adaptation."""
    begun = RunFolder.of_seeds(run.path) or TrainingFolder(run.path).checkpoints.exists() or run.run.exists()
    return run.recipe.is_file() and bool(begun)


def _describe(config: RunConfig, role: str) -> str:
    """Return a role with the names of its sources; the role of a teacher already names it."""
    data, adaptation, distill = config.data, config.adaptation, config.distill
    named = {
        "dev": data.dev,
        "text": () if adaptation is None else adaptation.text,
        "distill texts": () if distill is None else distill.texts,
    }
    return role if role.startswith("teacher ") else f"{role}: {', '.join(named.get(role) or data.train)}"


def _read(file: Path) -> dict[str, Any]:
    return read_state(file, dict) or {}
