"""Pages that the program writes itself: its commands, as ``--help`` has them, and its adapters.

sphinx-click does not know the commands of typer, which has a click of its own.
"""

import inspect
import re
from typing import Any

from sphinx.application import Sphinx
from typer.main import get_command


def commands() -> str:
    """Return a section for each command, in Markdown."""
    from clinadapt.cli.main import app

    return "\n\n".join(_section(path, one) for path, one in _leaves(get_command(app), "clinadapt"))


def _leaves(command: Any, path: str) -> list[tuple[str, Any]]:
    """Return every command below a command, with the words that call it."""
    if not hasattr(command, "commands"):
        return [] if command.hidden else [(path, command)]
    below = command.commands.items()
    return [leaf for name, one in below for leaf in _leaves(one, f"{path} {name}")]


def _section(path: str, command: Any) -> str:
    context = command.make_context(path, [], resilient_parsing=True)
    text = re.sub(r"\n(?!\n)", " ", command.help or "").strip()
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    records = (parameter.get_help_record(context) for parameter in command.params)
    described = [f"`{name}`\n: {help}" for name, help in filter(None, records)]
    return "\n\n".join([f"## {path}", text, f"```text\n{usage}\n```", *described])


def adapters() -> str:
    """Return a section for each adapter: its module's docstring, which is Markdown."""
    from clinadapt.neural.adapters.registry import ADAPTERS

    return "\n\n".join(
        f"## {name}\n\n{inspect.getdoc(inspect.getmodule(adapter))}"
        for name, adapter in ADAPTERS.items()
    )


PAGES = {"reference/commands": commands, "reference/adapters": adapters}


def write(app: Sphinx, page: str, source: list[str]) -> None:
    """Put what the program writes in the place of the mark."""
    if page in PAGES:
        source[0] = source[0].replace("<!-- generated -->", PAGES[page]())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the pages."""
    app.connect("source-read", write)
    return {"parallel_read_safe": True}
