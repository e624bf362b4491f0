"""Open a page in a browser."""

import os
import sys
import webbrowser


def open_page(address: str) -> bool:
    """Open a page in a browser if this machine has a display; return if it was opened."""
    # Without a display, webbrowser would start a browser for text in this terminal.
    if sys.platform in ("darwin", "win32") or os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}:
        return webbrowser.open(address)
    return False
