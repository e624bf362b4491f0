"""Names of classes and columns are text in every file of a study."""

import re

import polars as pl
import pytest

from clinadapt import Columns, Study, read_notes, write_report
from clinadapt.data.synthetic.generator import generate
from clinadapt.deployment.drift.drift_report import write_drift

YES, NO = "<img src=x onerror=alert(1)>|*yes*", "=no|`b`\n# c"
COLUMN = "ward | <b>"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    notes = generate(n_notes=240, n_patients=80, n_positive=96)
    labels = {False: NO, True: YES}
    positive = notes["label"].cast(pl.String).is_in(["positive", "1", "True", "true"])
    table = notes.with_columns(
        pl.Series("label", [labels[value] for value in positive]),
        pl.Series(COLUMN, [f"=ward {at % 3}|<i>" for at in range(len(notes))]),
    )
    columns = Columns(id="id", group="patient", describe=(COLUMN,), positive=YES)
    configurations = [{"model": "tfidf-logistic", "C": [1.0, 10.0]}]
    design = {"name": "<u>|a", "resamples": 100, "configurations": configurations}
    Study(read_notes(table, columns), design, folder / "out").run()
    write_report(folder / "out")
    write_drift(folder / "out" / "best", table, folder / "out" / "drift.html")
    return folder / "out"


def test_pages_hold_no_markup_of_names(out):
    pages = list(out.glob("*.html"))
    assert len(pages) == 2
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(img src=x|u>\||i>\"|b>\")", text)


def test_markdown_holds_no_markup_of_names_and_whole_tables(out):
    files = list(out.rglob("*.md"))
    assert {path.name for path in files} == {"README.md", "tripod-ai.md"}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<(img|u|i|b)\b", text)
        assert "\n# c" not in text
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_tables_hold_no_formulas(out):
    for path in (out / "leaderboard.csv", *out.glob("tables/*.csv")):
        for row in pl.read_csv(path, infer_schema=False).rows():
            assert not [cell for cell in row if cell and cell.startswith(("=", "@"))]
