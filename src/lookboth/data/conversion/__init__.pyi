from .convert_options import ConvertOptions as ConvertOptions
from .converting import convert as convert
from .export_formats import STREAMS as STREAMS, TOOLS as TOOLS, export as export, write_marked as write_marked
from .kinds import (
    KINDS as KINDS,
    advise_conversion as advise_conversion,
    is_direct_folder as is_direct_folder,
    read_direct as read_direct,
    recognize as recognize,
)
from .marked import mark_prediction as mark_prediction
from .writing import write_data as write_data
