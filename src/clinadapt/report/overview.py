"""Overview page of a study of several tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clinadapt.core import html
from clinadapt.core.atomic_files import atomic_path


def write_overview(content: dict[str, Any], folder: Path) -> Path:
    """Write the overview ``report.html`` of several tasks, with links to their reports.

    Parameters
    ----------
    content : dict
        See `clinadapt.study.multi_task.Tasks.to_json`.
    folder : Path
        Folder of all tasks.

    Returns
    -------
    Path
        The page.
    """
    environment = html.page_environment("clinadapt.report")
    style = html.source(environment, html.STYLE)
    page = environment.get_template("overview.html.jinja").render(about=content, style=style)
    target = folder / "report.html"
    with atomic_path(target) as partial:
        partial.write_text(page, encoding="utf-8")
    return target
