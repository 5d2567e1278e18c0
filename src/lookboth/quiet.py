"""Keeps what other libraries print off the screen of a person at the command line."""

import os
import warnings


def quiet_libraries() -> None:
    """Silence transformers' progress bars of weight loading and its warnings about PEFT."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # between transformers and PEFT, not the user's
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from transformers.utils import logging

    logging.disable_progress_bar()
