"""``study`` and ``demo``: first steps, next steps, and what a study remembers."""

import shlex
import tomllib
from inspect import signature

import polars as pl
import pytest
from command import run

from clinadapt.core.atomic_files import read_json
from clinadapt.data.synthetic.built_in import DEMO_SIZES
from clinadapt.data.synthetic.generator import generate
from clinadapt.study import study_file

DESIGN = 'name = "one"\nresamples = 100\nfolds = 1\n[[configurations]]\nmodel = "tfidf-logistic"\n'
COLUMNS = ("--text", "note text", "--label", "icd", "--group", "patient", "--id", "key")


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """Folder of a table with columns of uncommon names, and its finished study."""
    folder = tmp_path_factory.mktemp("studied")
    table = generate(n_patients=60, n_notes=180, n_positive=70)
    table = table.rename({"text": "note text", "label": "icd", "id": "key"})
    table.write_csv(folder / "my notes.csv")
    (folder / "one.toml").write_text(DESIGN)
    return folder


@pytest.fixture
def place(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    if not (studied / "out" / "report.html").is_file():
        code, _, _ = start(capsys)
        assert code == 0
    return studied


def start(capsys):
    return run(
        "study", "my notes.csv", *COLUMNS, "--study", "one.toml", "--out", "out", "--offline",
        capsys=capsys,
    )  # fmt: skip


def test_without_notes_the_demo_is_named(capsys):
    code, shown, error = run("study", capsys=capsys)
    assert code == 2
    assert "clinadapt demo" in error
    assert shown == ""


def test_a_built_in_study_is_shown_to_copy(capsys):
    with pytest.raises(SystemExit) as stop:
        command_line("study", "--show", "quick")
    shown = capsys.readouterr().out
    assert not stop.value.code
    original = (study_file.BUILT_IN / "quick.toml").read_text(encoding="utf-8")
    assert tomllib.loads(shown) == tomllib.loads(original)
    code, _, error = run("study", "--show", "quik", capsys=capsys)
    assert code == 2
    assert "did you mean 'quick'" in error.lower()


def command_line(*arguments):
    from clinadapt.cli.main import main

    main([str(argument) for argument in arguments])


def test_a_finished_study_says_that_nothing_was_run(place, capsys):
    code, shown, _ = start(capsys)
    assert code == 0
    assert "1 of 1 runs reused" in shown
    assert "nothing was run" in shown


def test_next_steps_run_as_they_stand(place, capsys):
    with pytest.raises(SystemExit):
        command_line(
            "study", "my notes.csv", *COLUMNS, "--study", "one.toml", "--out", "out", "--offline"
        )
    lines = capsys.readouterr().out.partition("Next:")[2].splitlines()
    steps = [shlex.split(line)[1:] for line in lines if line.startswith("  clinadapt ")]
    assert [step[0] for step in steps] == ["predict", "errors", "serve"]
    for step in steps[:2]:
        code, _, error = run(*step, capsys=capsys)
        assert (code, error) == (0, "")
    code, shown, _ = run(*steps[0], "--out", "again.csv", capsys=capsys)
    assert code == 0
    assert "clinadapt drift out/best 'my notes.csv' --text 'note text'" in shown


def test_next_steps_read_the_table_as_the_study_did(studied, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pl.read_csv(studied / "my notes.csv").write_csv("odd.csv", separator="#")
    reading = ["--delimiter", "#", "--missing", "nil"]
    with pytest.raises(SystemExit):
        command_line(
            "study", "odd.csv", *COLUMNS, *reading, "--study", studied / "one.toml", "--offline"
        )
    lines = capsys.readouterr().out.partition("Next:")[2].splitlines()
    step = next(shlex.split(line)[1:] for line in lines if line.startswith("  clinadapt predict "))
    assert step[-4:] == reading
    code, shown, error = run(*step, capsys=capsys)
    assert code == 0, error
    assert "180 notes read: 180 notes classified" in shown


def test_the_way_from_check_to_plan_to_study(place, capsys):
    code, shown, _ = run("check", "my notes.csv", *COLUMNS, capsys=capsys)
    assert code == 0
    given = "'my notes.csv' --text 'note text' --label icd --id key --group patient"
    assert f"clinadapt plan {given}" in shown
    assert f"clinadapt study {given} --out study" in shown
    code, shown, _ = run(
        "plan", "my notes.csv", *COLUMNS, "--study", "one.toml", "--hours", 2, "--out", "planned",
        capsys=capsys,
    )  # fmt: skip
    assert code == 0
    assert f"clinadapt study {given} --study one.toml --out planned --hours 2.0" in shown


def test_columns_are_remembered(place, capsys):
    columns = read_json(place / "out" / "study.json")["data"]["columns"]
    assert (columns["text"], columns["label"], columns["id"]) == ("note text", ["icd"], "key")
    for words in (
        ("errors", "out", "my notes.csv"),
        ("explain", "out/best", "my notes.csv", "--limit", 2),
        ("drift", "out/best", "my notes.csv"),
    ):
        code, _, error = run(*words, capsys=capsys)
        assert (code, error) == (0, "")


def test_given_columns_come_before_remembered_ones(place, capsys):
    code, _, error = run("explain", "out/best", "my notes.csv", "--text", "other", capsys=capsys)
    assert code == 2
    assert "other" in error


def test_new_notes_need_not_have_every_column(place, capsys):
    table = generate(n_patients=40, n_notes=80, n_positive=30)
    table.select("text").rename({"text": "note text"}).write_csv(place / "new.csv")
    code, _, error = run("drift", "out/best", "new.csv", capsys=capsys)
    assert (code in (0, 3), error) == (True, "")


@pytest.fixture
def asked_sizes(tmp_path, monkeypatch, small_notes_synthetic):
    """Sizes of the built-in notes that ``demo`` asked for; its studies are small ones."""
    for name in ("demo", "quick"):
        (tmp_path / f"{name}.toml").write_text(DESIGN)
    monkeypatch.setattr(study_file, "BUILT_IN", tmp_path)
    asked = []
    monkeypatch.setattr(
        "clinadapt.data.synthetic.built_in.built_in_notes",
        lambda **sizes: asked.append(sizes) or small_notes_synthetic,
    )
    return asked


def test_the_demo_takes_fewer_notes_than_other_studies(tmp_path, capsys, asked_sizes):
    for words in ((), ("--study", "quick")):
        code, _, _ = run("demo", *words, "--out", tmp_path / f"out-{len(words)}", capsys=capsys)
        assert code == 0
    assert asked_sizes == [DEMO_SIZES, {}]


def test_the_demo_is_a_small_share_of_the_built_in_notes_in_the_same_proportions():
    every = {name: one.default for name, one in signature(generate).parameters.items()}
    shares = [DEMO_SIZES[name] / every[name] for name in DEMO_SIZES]
    assert max(shares) < 0.3
    assert max(shares) - min(shares) < 0.002


def test_the_demo_ends_with_its_report_and_what_to_do_next(
    tmp_path, monkeypatch, capsys, asked_sizes
):
    opened = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", lambda page: opened.append(page) or True)
    code, shown, _ = run("demo", "--out", tmp_path / "demo", capsys=capsys)
    assert code == 0
    assert f"report: {tmp_path / 'demo' / 'report.html'}" in shown
    assert (tmp_path / "demo" / "report.html").is_file()
    assert shown.index("report.html") < shown.index("clinadapt check YOUR_NOTES")
    assert opened == []  # output is no terminal

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    code, _, _ = run("demo", "--out", tmp_path / "demo", capsys=capsys)
    assert opened == [(tmp_path / "demo" / "report.html").as_uri()]
    run("demo", "--out", tmp_path / "demo", "--no-open", capsys=capsys)
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    run("demo", "--out", tmp_path / "demo", capsys=capsys)
    assert len(opened) == 1
