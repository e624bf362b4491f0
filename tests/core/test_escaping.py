"""Names as plain text in Markdown and spreadsheets."""

import polars as pl
import pytest
from markdown_it import MarkdownIt

from clinadapt.core.escaping import for_spreadsheets, markdown

NASTY = [
    "<img src=x onerror=alert(1)>",
    "a|b",
    "`code`",
    "**bold** _thin_ ~~gone~~",
    "[link](javascript:alert(1))",
    "![image](http://host/x)",
    "<!-- comment -->",
    "&lt;b&gt; & c",
    "\\| \\<",
    "line\r\n| --- |\n# heading",
    "\u2028two\x0blines",
]


@pytest.mark.parametrize("name", NASTY)
def test_markdown_shows_a_name_as_it_is(name):
    read = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    shown = " ".join(name.split())
    tokens = read.parse(f"Classes: {markdown(name)}.")
    assert {child.type for child in tokens[1].children} <= {"text", "text_special"}
    assert "".join(child.content for child in tokens[1].children) == f"Classes: {shown}."
    tokens = read.parse(f"| a | b |\n|---|---|\n| {markdown(name)} | c |\n")
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 4
    assert "".join(child.content for child in cells[2].children) == shown


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("  =1", "'  =1"),
        ("\t=1", "'\t=1"),
        ("\r=1", "' =1"),
        ("a\r\nb\n\nc", "a b c"),
        ("-0.5", "-0.5"),
        ("+1.2", "+1.2"),
        ("+0.1 to +2.3", "+0.1 to +2.3"),
        ("-12 %", "-12 %"),
        ("a = b", "a = b"),
        ("", ""),
        (None, None),
    ],
)
def test_cells_of_spreadsheets(cell, written):
    frame = pl.DataFrame({"=a": [cell], "b": [1.5]}, schema={"=a": pl.String, "b": pl.Float64})
    assert for_spreadsheets(frame).to_dicts() == [{"'=a": written, "b": 1.5}]
