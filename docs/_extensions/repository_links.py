"""Links of a page to files that are no pages of the site lead to the repository.

In the repository, pages link to source files, benchmarks and the log by relative paths. The site
has none of these, so each such link becomes the file's address, if the file exists.
"""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from sphinx.application import Sphinx
from sphinx.util import logging

REPOSITORY = "https://github.com/clinadapt/clinadapt/blob/main/"
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
ROOT = Path(__file__).parents[2]
LOG = logging.getLogger(__name__)


def resolve(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the links of a page that leave the site."""
    folder = Path(app.env.doc2path(page)).parent

    def address(match: re.Match[str]) -> str:
        link = urlsplit(match[0])
        if link.scheme or not link.path:
            return match[0]
        file = Path(os.path.normpath(folder / link.path))
        if not file.exists():
            LOG.warning("%s: no such file: %s", page, match[0])
        is_page = file.is_relative_to(app.srcdir) and app.env.path2doc(file) in app.env.found_docs
        if is_page:
            return match[0]
        return (
            REPOSITORY + file.relative_to(ROOT).as_posix() + (link.fragment and f"#{link.fragment}")
        )

    source[0] = LINK.sub(address, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the rewriting of links."""
    app.connect("source-read", resolve)
    return {"parallel_read_safe": True}
