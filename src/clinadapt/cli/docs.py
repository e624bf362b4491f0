"""Command ``docs``: the pages of the documentation, which are installed with the package.

`make docs` builds them into the package's folder, and a wheel built after that contains them.
"""

from pathlib import Path
from typing import Annotated

import typer

from clinadapt.cli.browser import open_page
from clinadapt.core.errors import InputError

PAGES = Path(__file__).parents[1] / "documentation"
START = "index"


def docs(
    page: Annotated[
        str, typer.Argument(help="Page, such as slurm, or statistics#interval for a section.")
    ] = START,
) -> None:
    """Open a page of this documentation, in a browser if there is a display. Needs no internet."""
    address = find(page)
    print(address)
    open_page(address)


def find(page: str) -> str:
    """Return the address of an installed page.

    Parameters
    ----------
    page : str
        Name of its file without ending, and a section after ``#`` if wanted.

    Raises
    ------
    InputError
        There is no such page, or this installation has none.
    """
    name, _, section = page.partition("#")
    pages = {file.stem.lower(): file for file in PAGES.rglob("*.html")}
    if not pages:
        raise InputError(
            "this installation was built without its documentation: `make docs` in a checkout "
            "builds it, and docs/ has the same pages as text"
        )
    if name.lower() not in pages:
        known = ", ".join(sorted(pages.keys() - {"genindex", "py-modindex", "search"}))
        raise InputError(f"there is no page {name!r}; pages: {known}")
    return pages[name.lower()].as_uri() + (section and f"#{section}")
