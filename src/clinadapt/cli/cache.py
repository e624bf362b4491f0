"""``clinadapt cache``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.cli.shared import say
from clinadapt.core.errors import InputError


def cache(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Study folders or --cache folders; default: study."),
    ] = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete the listed caches that are not in use.")
    ] = False,
    older_than: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="DAYS", help="With --purge: delete only caches at least this old."
        ),
    ] = None,
) -> None:
    """List cached encoder features, which reflect patient text; delete them with --purge."""
    from clinadapt.core import formatting
    from clinadapt.features.cache_admin import entries
    from clinadapt.features.cache_admin import purge as delete

    if older_than is not None and not purge:
        raise InputError("--older-than limits what --purge deletes: use them together")
    searched = folders or [Path("study")]
    if absent := [str(folder) for folder in folders or () if not folder.is_dir()]:
        raise InputError(f"no such folder: {', '.join(absent)}")
    caches = list(entries(searched))
    for entry in caches:
        remarks = ["in use"] * entry.in_use
        remarks += ["[yellow]readable by others[/]"] * entry.open_to_others
        suffix = f" ({', '.join(remarks)})" if remarks else ""
        size_and_age = f"{formatting.size(entry.size):>9}  {entry.days():6.1f} days"
        say(f"{size_and_age}  {escape(str(entry.folder))}{suffix}")
    total = formatting.size(sum(entry.size for entry in caches))
    say(f"{len(caches)} feature caches, {total}")
    if purge:
        deleted = delete(caches, older_than or 0.0)
        freed = formatting.size(sum(entry.size for entry in deleted))
        say(f"deleted {len(deleted)}, {freed}; studies that need these features recompute them")
