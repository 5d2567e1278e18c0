"""Paths of the web pages' files: the package's own page, and Swagger UI from fastapi-offline."""

from importlib.util import find_spec
from pathlib import Path

PAGE = Path(__file__).parent / "page"


def swagger_folder() -> Path:
    """Return the folder with the files of Swagger UI, which fastapi-offline contains.

    Raises:
        ModuleNotFoundError: fastapi-offline is not installed.
    """
    # Only the folder is looked up: none of the package's code is imported.
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fastapi-offline is not installed", name="fastapi_offline")
    return Path(spec.origin).parent / "static"
