"""What documents say: the commands that they show, and what a site's pages link to."""

import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from typer.main import get_command

from clinadapt.cli.main import app

BLOCK = re.compile(r"^```(.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"(?<!\S)#.*")


def shown_commands(text: str) -> list[list[str]]:
    """Return the words of every command of clinadapt that a Markdown page shows."""
    shell = "\n".join(block for language, block in BLOCK.findall(text) if language in ("", "bash"))
    found = re.findall(r"\bclinadapt [a-z].*", COMMENT.sub("", shell.replace("\\\n", " ")))
    return [shlex.split(command) for command in found]


def unknown_options(words: list[str]) -> list[str]:
    """Return what a command, whose first word is the program, names and the program has not."""
    command: Any = get_command(app)
    rest = words[1:]
    while hasattr(command, "commands"):
        if rest[0].startswith("-"):
            break
        if rest[0] not in command.commands:
            return [rest[0]]
        command, rest = command.commands[rest[0]], rest[1:]
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    for stop in ("|", "&&", ";", ">"):
        rest = rest[: rest.index(stop)] if stop in rest else rest
    given = {word.partition("=")[0] for word in rest if word.startswith("--")}
    return sorted(given - known - {"--help"})


class Page(HTMLParser):
    """Targets, anchors and text of a page.

    Attributes
    ----------
    links : list of str
        Addresses that a reader can follow.
    loaded : list of str
        Addresses that the browser loads by itself.
    anchors : set of str
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self._words: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    @property
    def text(self) -> str:
        """All text in one line."""
        return " ".join("".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where an element leads, what it loads and what it is called."""
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif value and name == "href" and tag == "a":
                self.links.append(value)
            elif value and name in ("href", "src"):
                self.loaded.append(value)

    def handle_data(self, data: str) -> None:
        """Note text."""
        self._words.append(data)
