from .export import export_labeler as export_labeler
from .folder import is_exported as is_exported, read_config as read_config
from .onnx_labeler import OnnxLabeler as OnnxLabeler, load_exported as load_exported
