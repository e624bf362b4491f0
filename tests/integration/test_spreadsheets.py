"""Spreadsheets as LibreOffice saves them in French go through check, study and predict.

`libreoffice.csv` and `libreoffice.xlsx` are one sheet of 120 synthetic notes, saved by LibreOffice
7.4 with the language French: `;` between cells, a decimal comma, line breaks and quotes in notes.
"""

from pathlib import Path

import polars as pl
import pytest
from command import run

FILES = Path(__file__).parents[1] / "data" / "tables" / "files"
COLUMNS = ["--text", "Compte rendu", "--label", "Décompensation", "--group", "IPP"]
STUDY = 'name = "one"\n[[configurations]]\nmodel = "tfidf-logistic"\n'


@pytest.fixture
def probabilities(tmp_path, capsys):
    """Take a file through the three commands, and return what the notes get."""
    (tmp_path / "one.toml").write_text(STUDY, encoding="utf-8")

    def of(file: Path) -> pl.DataFrame:
        out, scores = tmp_path / file.suffix, tmp_path / f"{file.name}.parquet"
        code, checked, said = run("check", file, *COLUMNS, capsys=capsys)
        assert (code, "120 notes" in checked) == (0, True), said
        asked = [file, *COLUMNS, "--study", tmp_path / "one.toml", "--out", out]
        code, _, said = run("study", *asked, capsys=capsys)
        assert code == 0, said
        asked = [out / "best", file, "--text", "Compte rendu", "--out", scores]
        code, _, said = run("predict", *asked, capsys=capsys)
        assert code == 0, said
        return pl.read_parquet(scores)

    return of


def test_both_files_need_no_option_but_the_columns_and_say_the_same(probabilities):
    from_csv = probabilities(FILES / "libreoffice.csv")
    from_workbook = probabilities(FILES / "libreoffice.xlsx")
    assert len(from_csv) == 120
    assert from_csv.equals(from_workbook)
