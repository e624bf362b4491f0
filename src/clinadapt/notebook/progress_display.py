"""Progress of a study: two bars of HTML in a notebook, bars of text in a terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from rich.console import Console
from rich.progress import Progress as Bars

from clinadapt.core.run_context import Progress

RUNS = "runs"  # the stage that counts a study's runs
UPDATE_SECONDS = 0.2


def in_notebook() -> bool:
    """Return whether this is a Jupyter notebook, or another place that shows HTML."""
    shell = _shell()
    return shell is not None and hasattr(shell, "kernel")


def _shell() -> Any | None:
    """Return IPython's shell; None where IPython is not in use, which is never imported here."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


@contextmanager
def progress_display() -> Iterator[Progress]:
    """Yield the callback that shows the runs done and the current stage.

    What is shown disappears at the end.
    """
    if in_notebook():
        bars = _NotebookBars()
        try:
            yield bars.show
        finally:
            bars.close()
        return
    with Bars(console=Console(stderr=True), transient=True) as text:
        runs, stage = text.add_task(RUNS, total=None), text.add_task("", total=None)

        def show(name: str, done: int, total: int) -> None:
            bar = runs if name == RUNS else stage
            text.update(bar, description=name, completed=done, total=total)

        yield show


class _NotebookBars:
    """A place in a notebook's output whose HTML is replaced; it needs no widgets."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self.html: Any = HTML
        self.place: Any = display(HTML(""), display_id=True)
        self.runs = self.stage = ""
        self.updated = 0.0

    def show(self, name: str, done: int, total: int) -> None:
        bar = (
            f'<div><progress value="{done}" max="{total}"></progress> '
            f"{escape(name)}: {done:,} of {total:,}</div>"
        )
        if name == RUNS:
            self.runs = bar
        else:
            self.stage = bar
        now = time.monotonic()
        if name == RUNS or now - self.updated >= UPDATE_SECONDS:
            self.updated = now
            self.place.update(self.html(self.runs + self.stage))

    def close(self) -> None:
        self.place.update(self.html(""))
