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
        typer.Argument(help="Folders of studies or of --cache; default: study."),
    ] = None,
    purge: Annotated[bool, typer.Option("--purge", help="Delete what is listed.")] = False,
    older_than: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="With --purge: only what is as old."),
    ] = None,
) -> None:
    """List cached features of encoders, which reflect patient text; delete them with --purge."""
    from clinadapt.core import formatting
    from clinadapt.features.cache_admin import entries
    from clinadapt.features.cache_admin import purge as delete

    if older_than is not None and not purge:
        raise InputError("--older-than says what --purge deletes: give both")
    asked = folders or [Path("study")]
    if absent := [str(folder) for folder in folders or () if not folder.is_dir()]:
        raise InputError(f"no folder {', '.join(absent)}")
    found = list(entries(asked))
    for entry in found:
        notes = ["in use"] * entry.in_use + ["[yellow]others may read it[/]"] * entry.open_to_others
        told = f" ({', '.join(notes)})" if notes else ""
        about = f"{formatting.size(entry.size):>9}  {entry.days():6.1f} days"
        say(f"{about}  {escape(str(entry.folder))}{told}")
    total = formatting.size(sum(entry.size for entry in found))
    say(f"{len(found)} caches of features, {total}")
    if purge:
        deleted = delete(found, older_than or 0.0)
        freed = formatting.size(sum(entry.size for entry in deleted))
        say(f"deleted {len(deleted)}, {freed}; a study that needs them computes them again")
