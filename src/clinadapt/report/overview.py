"""The page above the reports of several tasks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from markupsafe import Markup

from clinadapt.report.page import environment_of_pages


def write_overview(content: dict[str, Any], folder: Path) -> Path:
    """Write ``report.html`` of several tasks; it links to each one's own.

    Parameters
    ----------
    content : dict
        See `clinadapt.tasks.Tasks.to_json`.
    folder : Path
    """
    environment = environment_of_pages()
    assert environment.loader is not None
    style = Markup(environment.loader.get_source(environment, "page.css")[0])
    html = environment.get_template("overview.html.jinja").render(about=content, style=style)
    target = folder / "report.html"
    partial = folder / f".report.{os.getpid()}.html"
    partial.write_text(html, encoding="utf-8")
    os.replace(partial, target)
    return target
