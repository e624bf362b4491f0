"""Checks of an encoder's ``config.json``: it must not fetch or run code."""

import re
from collections.abc import Iterator
from typing import Any

# With these settings the library would run a repository's code, or fetch kernels and quantizers.
REFUSED = re.compile(
    r"auto_map|trust_remote_code|quantization_config|custom_pipelines|use_kernels|kernel_config"
    r"|\w*(attn|experts)_implementation\w*"
)
# Shapes are limited by the files that fill them, but a number of layers is a loop.
COUNTED = re.compile(r"num_\w*(layers|heads|experts)|n_(layers?|heads?)")
MOST_COUNTED = 1000


def plain(config: Any) -> Any:
    """Return a configuration without the settings that a bundle must not have."""
    if isinstance(config, dict):
        return {name: plain(value) for name, value in config.items() if not REFUSED.fullmatch(name)}
    return [plain(value) for value in config] if isinstance(config, list) else config


def problems(config: Any) -> Iterator[str]:
    """Yield the problems of a configuration, as messages."""
    if not isinstance(config, dict):
        yield "expected a mapping"
        return
    for name, value in _entries(config):
        if REFUSED.fullmatch(name):
            yield f"{name!r} may fetch or run code, which is not allowed in a bundle"
        elif COUNTED.fullmatch(name) and isinstance(value, int) and value > MOST_COUNTED:
            yield f"{name!r}: expected at most {MOST_COUNTED}, got {value}"


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield every name and value of a mapping and of those nested in it."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield name, value
            yield from _entries(value)
    elif isinstance(content, list):
        for value in content:
            yield from _entries(value)
