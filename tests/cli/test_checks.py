"""Checks as commands run them: what is printed, silenced, refused, and written by a study."""

import json

import polars as pl
import pytest
from command import run
from faulty import table, telltale

from clinadapt import FinishedStudy

DESIGN = """
name = "small"
resamples = 100
ignore = ["CLA007"]
[[configurations]]
model = "tfidf-logistic"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A table whose labels a word gives away and some of whose labels are wrong, and a design."""
    folder = tmp_path_factory.mktemp("checked")
    notes = telltale(table())
    wrong = pl.int_range(pl.len()) % 7 == 0
    other = pl.when(pl.col("label") == "positive").then(pl.lit("negative"))
    notes.write_csv(folder / "notes.csv")
    notes.with_columns(
        pl.when(wrong).then(other.otherwise(pl.lit("positive"))).otherwise("label").alias("label")
    ).write_csv(folder / "wrong.csv")
    (folder / "small.toml").write_text(DESIGN, encoding="utf-8")
    return folder


COLUMNS = ["--id", "id", "--group", "patient", "--date", "date"]


def test_check_prints_findings_and_silences_codes(place, capsys):
    code, told, _ = run("check", place / "notes.csv", *COLUMNS, capsys=capsys)
    assert code == 0
    assert "CLA001 A word gives the label away: " in told
    assert "CLA006" in told
    assert "clinadapt docs CLA001" in told
    silenced = ["--ignore", "CLA001", "--ignore", "CLA006"]
    code, told, _ = run("check", place / "notes.csv", *COLUMNS, *silenced, capsys=capsys)
    assert code == 0
    assert "gives the label away" not in told
    assert "checks silenced: CLA001, CLA006" in told
    assert "--ignore CLA001" in told  # in the command of the study


def test_words_are_shown_where_the_user_asks(place, capsys):
    told = run("check", place / "notes.csv", *COLUMNS, "--show-words", capsys=capsys)[1]
    assert "the heading “codage”" in told
    assert "--show-words shows it" not in told


def test_check_gives_findings_as_json(place, capsys):
    _, told, _ = run("check", place / "notes.csv", *COLUMNS, "--json", capsys=capsys)
    checks = json.loads(told)["checks"]
    assert {"CLA001", "CLA006"} <= {finding["code"] for finding in checks["findings"]}
    assert checks["not_applicable"] == ["CLA101", "CLA102", "CLA103"]
    assert checks["notes"] == checks["read"] == 400


@pytest.mark.parametrize("command", ["check", "plan", "study"])
def test_an_unknown_code_is_refused_before_any_work(command, place, capsys):
    arguments = [command, place / "notes.csv", "--ignore", "CLA999"]
    code, _, error = run(*arguments, capsys=capsys)
    assert code == 2
    assert "'CLA999'" in error
    assert "CLA101" in error


@pytest.fixture(scope="module")
def study(place):
    """A study of the table with wrong labels, of which one check is silenced in each way."""
    from typer.testing import CliRunner

    from clinadapt.cli.main import app

    command = ["study", str(place / "wrong.csv"), *COLUMNS, "--study", str(place / "small.toml")]
    command += ["--out", str(place / "out"), "--ignore", "CLA006", "--offline"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return place / "out", " ".join(done.output.split())


def test_a_study_keeps_what_was_found_and_what_was_silenced(study):
    out, told = study
    checks = json.loads((out / "checks.json").read_text(encoding="utf-8"))
    assert checks["ignored"] == ["CLA006", "CLA007"]  # on the command line, in the study file
    assert set(checks["passed"]) >= {"CLA002", "CLA003", "CLA004"}
    assert checks["not_applicable"] == []
    assert "checks silenced: CLA006, CLA007" in told
    found = [finding["code"] for finding in checks["findings"]]
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["checks"] == checks
    assert [finding.code for finding in FinishedStudy(out).checks] == found
    page = (out / "report.html").read_text(encoding="utf-8")
    assert '<section id="checks">' in page
    for code in found:
        assert code in told
        assert f'href="#{code}"' in page  # on the first screen
        assert f'<dt id="{code}">' in page
        assert f"docs/checks/{code}.md" in page


def test_labels_are_listed_by_id_and_with_texts_only_where_asked(study, place, capsys):
    out, _ = study
    listed = pl.read_csv(out / "labels_to_check.csv")
    assert listed.height > 0
    assert "text" not in listed.columns
    texts = dict(pl.read_csv(place / "wrong.csv").select("id", "text").iter_rows())
    arguments = ["errors", out, place / "wrong.csv", "--out", place / "errors.html"]
    code, told, _ = run(*arguments, "--labels", place / "labels.csv", capsys=capsys)
    assert code == 0
    assert f"{listed.height} labels to look at again" in told
    written = pl.read_csv(place / "labels.csv")
    assert written.drop("text").equals(listed)
    for name, text in written.select("id", "text").iter_rows():
        assert text.split() == texts[name].split()  # in CSV for people, a note is one line
