"""Optional libraries that several parts need, and what to say where they are missing."""

import importlib
from typing import Any

from clinadapt.core.errors import MissingExtraError

EXTRAS = {"openvino": "openvino"}


def need(name: str) -> Any:
    """Import a module of an optional library.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        library = name.partition(".")[0]
        extra = EXTRAS.get(library, "onnx")
        raise MissingExtraError(
            f"an exported network needs {library}, which is not installed: "
            f"pip install 'clinadapt[{extra}]'"
        ) from None
