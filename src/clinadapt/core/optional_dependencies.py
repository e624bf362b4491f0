"""Import optional libraries, with an error that names the extra to install if one is missing."""

import importlib
from typing import Any

from clinadapt.core.errors import MissingExtraError

# By library: the extra that installs it, and what needs it. All other libraries are for ONNX.
EXTRAS = {
    "openvino": ("openvino", "an exported network"),
    "skops": ("sklearn", "a bundle of a scikit-learn pipeline"),
}
ONNX = ("onnx", "an exported network")


def need(name: str) -> Any:
    """Import a module of an optional library.

    Raises
    ------
    MissingExtraError
        The library is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        library = name.partition(".")[0]
        extra, purpose = EXTRAS.get(library, ONNX)
        raise MissingExtraError(
            f"{purpose} needs {library}, which is not installed: pip install 'clinadapt[{extra}]'"
        ) from None
