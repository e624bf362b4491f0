"""What an encoder's ``config.json`` may say: sizes, but nothing that fetches or runs code."""

import re
from collections.abc import Iterator
from typing import Any

# By these names the library would run a repository's code, or fetch kernels and quantizers.
REFUSED = re.compile(
    r"auto_map|trust_remote_code|quantization_config|custom_pipelines|use_kernels|kernel_config"
    r"|\w*(attn|experts)_implementation\w*"
)
# A shape can be no larger than the files that fill it; a number of layers makes a loop.
COUNTED = re.compile(r"num_\w*(layers|heads|experts)|n_(layers?|heads?)")
MOST_COUNTED = 1000


def plain(config: Any) -> Any:
    """A configuration without what a bundle may not say; it would be ignored anyway."""
    if isinstance(config, dict):
        return {name: plain(value) for name, value in config.items() if not REFUSED.fullmatch(name)}
    return [plain(value) for value in config] if isinstance(config, list) else config


def problems(config: Any) -> Iterator[str]:
    """Yield what is wrong with a configuration, in words."""
    if not isinstance(config, dict):
        yield "expected a mapping"
        return
    for name, value in _entries(config):
        if REFUSED.fullmatch(name):
            yield f"{name!r} may fetch or run code, which a bundle must not"
        elif COUNTED.fullmatch(name) and isinstance(value, int) and value > MOST_COUNTED:
            yield f"{name!r}: expected at most {MOST_COUNTED}, got {value}"


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    """Every name of a mapping and of those within it, with its value."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield name, value
            yield from _entries(value)
    elif isinstance(content, list):
        for value in content:
            yield from _entries(value)
