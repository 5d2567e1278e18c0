"""Silences messages of other libraries that do not concern the user of the command line."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def quiet_libraries() -> None:
    """Silence progress bars of weight loading, and warnings of transformers, PEFT, torch and bitsandbytes."""
    # On a CPU bitsandbytes recommends another package at every start.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # FutureWarnings concern calls between transformers and PEFT, which the user cannot change.
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # torch reads this when it is imported; it silences warnings of DDP.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # If transformers is imported later, it reads the variables above.
    if "transformers" in sys.modules:
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()


@contextmanager
def without_peft_warnings() -> Iterator[None]:
    """Silence warnings about names that PEFT itself uses, inside this context."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        # PEFT sees by itself that GPT-2 stores its weights transposed.
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False", UserWarning)
        # PEFT looks for these keys among modules only, but the experts of a mixture are parameters.
        warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys", RuntimeWarning)
        yield


@contextmanager
def without_load_report() -> Iterator[None]:
    """Silence transformers' list of unused weights, which are expected when a model is shortened."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
