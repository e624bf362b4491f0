"""What an accessibility check (axe) asks of Sphinx's pages and they lack.

Captions of the menu get the level of their heading; what can be wider than the screen can be
reached, and so scrolled, by keyboard.
"""

from typing import Any

from sphinx.application import Sphinx

MISSING = {
    "furo_navigation_tree": {'role="heading"': 'role="heading" aria-level="2"'},
    "body": {
        "<pre>": '<pre tabindex="0">',
        '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
        '<div class="math-wrapper': '<div tabindex="0" class="math-wrapper',
    },
}


def complete(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Complete the parts of a page."""
    for part, attributes in MISSING.items():
        for found, wanted in attributes.items():
            if part in context:
                context[part] = context[part].replace(found, wanted)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it after the theme, which makes the menu."""
    app.connect("html-page-context", complete, priority=900)
    return {"parallel_read_safe": True}
