"""The command line on real files: output, exit codes, no tracebacks and no note text."""

import json
import subprocess
import sys

import polars as pl
import pytest
from command import run

from clinadapt.cli.main import main


@pytest.fixture
def notes_file(small_table, tmp_path):
    path = tmp_path / "notes.csv"
    small_table.write_csv(path)
    return path


def test_study_predict_report(notes_file, tmp_path, capsys, encoder_folders):
    out = tmp_path / "out"
    design = tmp_path / "mine.toml"
    design.write_text(
        'name = "mine"\nresamples = 100\n[[configurations]]\nmodel = "tfidf-logistic"\n'
        '[[configurations]]\nmodel = "pretrained"\nepochs = 1\n'
    )
    code, shown, _ = run(
        "study", notes_file, "--id", "id", "--group", "patient", "--study", design,
        "--encoder", encoder_folders["bert"], "--max-tokens", 16, "--offline", "--out", out,
        capsys=capsys,
    )  # fmt: skip
    assert code == 0
    assert "TF-IDF + logistic regression" in shown
    assert "bert · none · frozen" in shown
    for name in ("leaderboard.csv", "report.html", "best/bundle.json", "split.json", "ledger.csv"):
        assert (out / name).is_file()

    for target in (tmp_path / "p.parquet", tmp_path / "p.csv"):
        code, shown, _ = run(
            "predict", out / "best", notes_file, "--id", "id", "--out", target, capsys=capsys
        )
        assert code == 0
        assert "240 notes classified" in shown
        frame = pl.read_parquet(target) if target.suffix == ".parquet" else pl.read_csv(target)
        assert frame.columns == ["id", "prediction", "prob_negative", "prob_positive"]
        assert len(frame) == 240
        assert target.stat().st_mode & 0o077 == 0

    (out / "report.html").unlink()
    code, _, _ = run("report", out, capsys=capsys)
    assert code == 0
    assert (out / "report.html").is_file()


def test_check_finds_nothing_wrong_with_good_notes(notes_file, capsys):
    code, shown, _ = run("check", notes_file, "--id", "id", "--group", "patient", capsys=capsys)
    assert code == 0
    assert "240 notes, binary" in shown
    assert "no problem prevents a study" in shown


def test_every_problem_at_once_without_note_text(tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_text("id,text,label\n1,SECRETWORD a,x\n1,,x\n3,SECRETWORD b,\n4,SECRETWORD c,x\n")
    code, shown, error = run("check", path, "--id", "id", capsys=capsys)
    assert code == 2
    for part in ("empty text in 1 row(s): 2", "missing label in 1 row(s): 3", "duplicate ids",
                 "expected at least two classes"):  # fmt: skip
        assert part in error
    assert "SECRETWORD" not in shown + error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "absent.csv"], "no such file"),
        (["study", "absent.csv"], "no such file"),
        (["report", "absent"], "is not a finished study"),
        (["predict", "absent", "notes.csv"], "is not a bundle"),
        (["encoders", "--convert", "absent"], "nothing to convert"),
    ],
)
def test_mistakes_are_reported_without_traceback(arguments, message, capsys):
    code, _, error = run(*arguments, capsys=capsys)
    assert code == 2
    assert error.startswith("error: ")
    assert message in error


def test_a_bug_shows_its_location_and_no_message(tmp_path, monkeypatch, capsys):
    def broken(_):
        raise RuntimeError("Madame Quillévéré, 39 ans")

    monkeypatch.setattr("clinadapt.features.cache_admin.entries", broken)
    code, shown, error = run("cache", tmp_path, capsys=capsys)
    assert code == 1
    assert "RuntimeError at " in error
    assert "Quillévéré" not in shown + error
    monkeypatch.setenv("CLINADAPT_DEBUG", "1")
    with pytest.raises(RuntimeError, match="Quillévéré"):
        main(["cache", str(tmp_path)])


def test_wrong_study_files_are_reported_at_once(notes_file, tmp_path, capsys):
    design = tmp_path / "bad.toml"
    design.write_text(
        'name = "bad"\n[[configurations]]\nmodel = "tfidf-logistik"\n'
        '[[configurations]]\nmodel = "moe"\nepoch = 3\n[[configurations]]\n'
        'model = "pretrained"\nadapter = "grn"\n'
    )
    code, _, error = run("study", notes_file, "--study", design, capsys=capsys)
    assert code == 2
    assert "3 problems" in error
    assert "did you mean 'epochs'" in error
    code, _, error = run("study", notes_file, "--study", "quik", capsys=capsys)
    assert "expected one of crossover, demo, paper, quick" in error


def test_encoders_lists_what_is_known_and_how_to_get_it(capsys):
    code, shown, _ = run("encoders", capsys=capsys)
    assert code == 0
    for part in ("camembert-bio", "almanach/camembert-bio-base", "MIT", "hf download"):
        assert part in shown


def test_a_missing_encoder_is_skipped_with_advice_how_to_get_it(
    notes_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("CLINADAPT_ENCODERS", str(tmp_path / "encoders"))
    design = tmp_path / "d.toml"
    design.write_text('name = "d"\nresamples = 100\n[[configurations]]\nmodel = "pretrained"\n')
    out = tmp_path / "out"
    code, shown, _ = run(
        "study", notes_file, "--study", design, "--offline", "--out", out, capsys=capsys
    )
    assert code == 3
    assert "skipped" in shown
    (result,) = out.glob("cells/*/result.json")
    reason = json.loads(result.read_text())["reason"]
    assert str(tmp_path / "encoders" / "camembert-bio") in reason
    assert not (out / "best").exists()


def test_a_study_without_the_options_imports_neither_library(tmp_path):
    code = (
        "import sys; from clinadapt import Study; from clinadapt.cli import display, main\n"
        "from clinadapt.study import mlflow_tracking\n"
        "from clinadapt.data.notes import read_notes\n"
        "from clinadapt.data.synthetic.generator import generate\n"
        "design = {'name': 'x', 'resamples': 100}\n"
        "design['configurations'] = [{'model': 'tfidf-logistic'}]\n"
        f"Study(read_notes(generate(60, 20, 24)), design, {str(tmp_path / 'out')!r}).run()\n"
        "loaded = {'codecarbon', 'mlflow'} & set(sys.modules)\n"
        "print(*loaded, file=sys.stderr); sys.exit(bool(loaded))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_brackets_in_labels_and_advice_are_shown_as_they_are(tmp_path, capsys):
    path = tmp_path / "notes.csv"
    words = {"[/x] a": "fievre", "[b]": "dyspnee"}
    rows = [f"{word} jour {n},{label}" for n in range(9) for label, word in words.items()]
    path.write_text("text,label\n" + "\n".join(rows))
    code, shown, _ = run("check", path, capsys=capsys)
    assert code == 0
    assert "[/x] a" in shown
    _, shown, _ = run("encoders", capsys=capsys)
    assert "--include '*.safetensors'" in shown
