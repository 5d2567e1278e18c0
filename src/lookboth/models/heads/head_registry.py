"""The table of heads by name; to add a head, write a file here and add a line to HEADS."""

from lookboth.config import HeadConfig, HeadKind
from lookboth.models.heads.context_gate import ContextGateHead
from lookboth.models.heads.crf import CRFHead
from lookboth.models.heads.head import Head, LinearHead
from lookboth.models.heads.mix import LayerMix
from lookboth.models.heads.multi_label import MultiLabelHead
from lookboth.models.heads.nested import NestedHead
from lookboth.models.heads.open_head import OpenHead

HEADS: dict[HeadKind, type[Head]] = {
    "linear": LinearHead,
    "crf": CRFHead,
    "context_gate": ContextGateHead,
    "multi_label": MultiLabelHead,
    "open": OpenHead,
    "nested": NestedHead,
}


def build_head(
    config: HeadConfig, *, hidden_size: int, num_layers: int, tags: tuple[str, ...], scheme: str
) -> Head:
    """Return a new head with initial weights.

    Args:
        config: kind of head, and the layers it reads.
        hidden_size: width of a state.
        num_layers: layers of the backbone; with head.layers = "mix" their states and the embeddings are mixed.
        tags: the tag of each output; scheme: "IOB2", "IOBES", "plain" or "nested".
    """
    head = HEADS[config.kind](hidden_size, tags, scheme)
    if not config.bias:
        head.bias = None
    if config.layers == "mix":
        head.mix = LayerMix(num_layers + 1)
    return head
