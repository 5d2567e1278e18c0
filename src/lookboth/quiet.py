"""Keeps what other libraries print off the screen of a person at the command line."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def quiet_libraries() -> None:
    """Silence transformers' progress bars of weight loading and its warnings about PEFT."""
    # On a CPU it tells at every start of a faster package for 4 bits, which is not needed.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)  # between transformers and PEFT, not the user's
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault(
        "TORCH_CPP_LOG_LEVEL", "ERROR"
    )  # read when torch is imported; DDP warns of its own caution
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # One that is not imported yet, and may never be, reads the variables.
    if "transformers" in sys.modules:
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()


@contextmanager
def without_peft_warnings() -> Iterator[None]:
    """Keep silent on names that PEFT, and not the user, asks transformers for or writes into settings."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        # It looks for them among modules only; those of a mixture's experts are parameters.
        warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys", RuntimeWarning)
        yield


@contextmanager
def without_load_report() -> Iterator[None]:
    """Keep transformers from listing the weights that are left out on purpose when a model is cut."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
