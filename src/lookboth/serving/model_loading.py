"""Loads the labelers of a server: names from the command line, one pool, one thread."""

import os
from collections.abc import Sequence
from pathlib import Path

from lookboth.errors import ConfigError
from lookboth.memory import LARGE_BATCH, SMALL_BATCH
from lookboth.serving.served_models import ServedModels
from lookboth.serving.thread import ModelThread

SHIPPED = "shipped"


def load_models(
    names: Sequence[str],
    *,
    batch_tokens: int | None = None,
    device: str | None = None,
    precision: str = "auto",
) -> ServedModels:
    """Load labelers in their own thread, warm them up and measure their speed.

    Args:
        names: `NAME=FOLDER`, or a folder or hub id (its last part is the name); empty: the shipped labeler.
        batch_tokens: tokens computed at once; None: `SMALL_BATCH` on a CPU, else `LARGE_BATCH`.
        device, precision: as for `open_labeler`; code of models is never run.

    Raises:
        ConfigError: two models have the same name.
        ModelError: a model cannot be loaded.
    """
    from lookboth.labelers import LabelerPool

    sources = name_models(names)
    thread, pool = ModelThread(), LabelerPool(device=device, precision=precision)
    thread.submit(pool.add, sources).result()
    on_cpu = all(str(labeler.device) == "cpu" for labeler in pool.labelers.values())
    tokens = batch_tokens or (SMALL_BATCH if on_cpu else LARGE_BATCH)
    models = ServedModels(pool.labelers, batch_tokens=tokens, thread=thread, pool=pool)
    for name in sources:
        thread.submit(models.warm_up, name).result()
    return models


def name_models(names: Sequence[str]) -> dict[str, str]:
    """Return a dictionary from model name to folder or hub id.

    >>> name_models(["ner=runs/a/labeler", "me/wnut17-tagger"])
    {'ner': 'runs/a/labeler', 'wnut17-tagger': 'me/wnut17-tagger'}
    >>> name_models([])
    {'shipped': 'shipped'}
    """
    sources: dict[str, str] = {}
    for given in names:
        name, sign, source = given.partition("=")
        # A folder name may contain an equals sign.
        if not sign or Path(given).exists():
            # abspath, because Path(".").name is empty.
            name, source = os.path.basename(os.path.abspath(given)), given
        if not name or not source:
            raise ConfigError(f"{given!r}: expected NAME=FOLDER, a folder or a hub id.")
        if name in sources:
            raise ConfigError(
                f"two models have the name {name!r}: {sources[name]} and {source}. "
                f"Name them: lookboth serve one={sources[name]} two={source}"
            )
        sources[name] = source
    return sources or {SHIPPED: SHIPPED}
