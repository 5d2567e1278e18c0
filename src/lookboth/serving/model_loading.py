"""Loads the labelers of a server: names from the command line, one pool, one thread."""

from collections.abc import Sequence

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
    from lookboth.labelers import LabelerPool, name_labelers

    sources = name_labelers(names) or {SHIPPED: SHIPPED}
    thread, pool = ModelThread(), LabelerPool(device=device, precision=precision)
    thread.submit(pool.add, sources).result()
    on_cpu = all(str(labeler.device) == "cpu" for labeler in pool.labelers.values())
    tokens = batch_tokens or (SMALL_BATCH if on_cpu else LARGE_BATCH)
    models = ServedModels(pool.labelers, batch_tokens=tokens, thread=thread, pool=pool)
    for name in sources:
        thread.submit(models.warm_up, name).result()
    return models
