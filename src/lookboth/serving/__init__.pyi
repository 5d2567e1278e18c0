from .server import serve as serve
from .settings import parse_settings as parse_settings
