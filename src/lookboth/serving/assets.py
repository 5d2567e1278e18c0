"""Where the files of the web pages are: ours, and those of Swagger UI, which a package brings."""

from importlib.util import find_spec
from pathlib import Path

PAGE = Path(__file__).parent / "page"


def swagger_folder() -> Path:
    """Return the folder with the files of Swagger UI; fastapi-offline brings them, nothing of it is run."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fastapi-offline is not installed", name="fastapi_offline")
    return Path(spec.origin).parent / "static"
