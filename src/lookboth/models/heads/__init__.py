"""The heads by name; a new one is a file here and a line in HEADS."""

from lookboth.config import HeadConfig
from lookboth.errors import ConfigError
from lookboth.models.heads.base import Head
from lookboth.models.heads.crf import CRFHead
from lookboth.models.heads.linear import LinearHead
from lookboth.models.heads.multi_label import MultiLabelHead

HEADS: dict[str, type[Head]] = {"linear": LinearHead, "crf": CRFHead, "multi_label": MultiLabelHead}


def build_head(config: HeadConfig, *, hidden_size: int, tags: tuple[str, ...], scheme: str) -> Head:
    """Return a fresh head.

    Raises:
        ConfigError: there is no head of this kind.
    """
    if config.kind not in HEADS:
        raise ConfigError(f"head.kind = {config.kind!r}: allowed are {', '.join(sorted(HEADS))}.")
    return HEADS[config.kind](hidden_size, tags, scheme)
