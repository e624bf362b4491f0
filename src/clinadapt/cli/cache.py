"""``clinadapt cache``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.cli.console import print_json, say
from clinadapt.cli.options import JsonOption
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
    json: JsonOption = False,
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
    deleted = delete(caches, older_than or 0.0) if purge else []
    if json:
        return print_json(
            {
                "caches": [
                    {
                        "folder": entry.folder,
                        "bytes": entry.size,
                        "files": entry.files,
                        "days": entry.days(),
                        "in_use": entry.in_use,
                        "readable_by_others": entry.open_to_others,
                        "deleted": entry in deleted,
                    }
                    for entry in caches
                ],
                "bytes": sum(entry.size for entry in caches),
                "deleted_bytes": sum(entry.size for entry in deleted),
            }
        )
    for entry in caches:
        remarks = ["in use"] * entry.in_use
        remarks += ["[yellow]readable by others[/]"] * entry.open_to_others
        suffix = f" ({', '.join(remarks)})" if remarks else ""
        size_and_age = f"{formatting.size(entry.size):>9}  {entry.days():6.1f} days"
        say(f"{size_and_age}  {escape(str(entry.folder))}{suffix}")
    say(f"{len(caches)} feature caches, {formatting.size(sum(entry.size for entry in caches))}")
    if purge:
        freed = formatting.size(sum(entry.size for entry in deleted))
        say(f"deleted {len(deleted)}, {freed}; studies that need these features recompute them")
