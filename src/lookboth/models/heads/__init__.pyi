from .context_gate import ContextGateHead as ContextGateHead
from .crf import CRFHead as CRFHead
from .head import Head as Head, LinearHead as LinearHead
from .head_registry import build_head as build_head
from .mix import LayerMix as LayerMix
from .multi_label import MultiLabelHead as MultiLabelHead
from .nested import NestedHead as NestedHead
from .open_head import OpenHead as OpenHead
