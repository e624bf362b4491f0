"""Names of classes, columns and files as plain text in Markdown and in tables for spreadsheets.

Pages escape by themselves (`clinadapt.core.html`), LaTeX in `clinadapt.report.export`.
"""

import re

import polars as pl

MARKDOWN = re.compile(r"([\\`*_{}\[\]|~])")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# What a spreadsheet takes for a formula, unless it is a number or a range of numbers.
FORMULA = r"^\s*[=+\-@\t\r]"
LINE_END = r"\s*[\r\n]+\s*"
NUMBERS = r"^[+\-]?\d[\d.,]*( ?%| to [+\-−]?\d[\d.,]*)?$"


def markdown(text: object) -> str:
    r"""Return a text that Markdown, also in a cell of a table, shows as it is, on one line.

    Examples
    --------
    >>> markdown("a|b <b>*c*</b>")
    'a\\|b &lt;b&gt;\\*c\\*&lt;/b&gt;'
    """
    plain = " ".join(str(text).split())
    for letter, entity in ENTITIES.items():
        plain = plain.replace(letter, entity)
    return MARKDOWN.sub(r"\\\1", plain)


def for_spreadsheets(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose texts no spreadsheet runs as formulas, each on one line.

    A text that looks like a formula gets an apostrophe in front, which spreadsheets do not show.
    """
    columns = [
        _cells(pl.col(name)).alias(name) if kind == pl.String else pl.col(name)
        for name, kind in frame.schema.items()
    ]
    return frame.select(columns).rename({name: _plain(name) for name in frame.columns})


def _cells(text: pl.Expr) -> pl.Expr:
    line = text.str.replace_all(LINE_END, " ")
    is_formula = text.str.contains(FORMULA) & ~text.str.contains(NUMBERS)
    return pl.when(is_formula).then(pl.lit("'") + line).otherwise(line)


def _plain(name: str) -> str:
    return str(pl.select(_cells(pl.lit(name))).item())
