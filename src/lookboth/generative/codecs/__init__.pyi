from .codec import Codec as Codec
from .codec_registry import build_codec as build_codec
from .json_list import JsonCodec as JsonCodec
from .markup import MarkupCodec as MarkupCodec
from .pairs import PairsCodec as PairsCodec
from .tags import TagsCodec as TagsCodec
