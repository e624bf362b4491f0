"""The terminal in French: asked for, or by the locale; what programs read stays English."""

import json

import pytest
from command import run

from clinadapt.cli.main import PLAINER
from clinadapt.core.language import set_language


@pytest.fixture(autouse=True)
def english_again():
    yield
    set_language("en")


@pytest.fixture
def table(tmp_path, small_table):
    file = tmp_path / "notes.csv"
    small_table.write_csv(file)
    return file


def test_check_speaks_french(table, capsys):
    code, out, _ = run("--language", "fr", "check", table, "--group", "patient", capsys=capsys)
    assert code == 0
    assert "comptes rendus, tâche binaire" in out
    assert "rien n’empêche une étude de ces comptes rendus" in out
    assert "Ensuite" in out
    assert f"clinadapt study {table} --group patient --out study" in out


@pytest.mark.parametrize(
    ("variables", "french"),
    [
        ({"LANGUAGE": "", "LANG": "fr_FR.UTF-8"}, True),
        ({"LANGUAGE": "", "LC_ALL": "C", "LANG": "fr_FR.UTF-8"}, False),
        ({"CLINADAPT_LANGUAGE": "fr"}, True),
        ({"CLINADAPT_LANGUAGE": "en", "LANGUAGE": "fr"}, False),
    ],
)
def test_the_environment_chooses(variables, french, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("LC_ALL", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, _, err = run("report", tmp_path, capsys=capsys)
    assert code == 2
    assert ("erreur" in err) == french
    assert ("n’est pas une étude terminée" in err) == french


def test_json_is_the_same_in_every_language(table, capsys):
    english = run("check", table, "--json", capsys=capsys)
    french = run("--language", "fr", "check", table, "--json", capsys=capsys)
    assert json.loads(english[1]) == json.loads(french[1])


def test_an_unknown_language_is_a_mistake_of_the_user(capsys, monkeypatch):
    code, _, err = run("--language", "de", "encoders", capsys=capsys)
    assert (code, err) == (2, "error: unknown language 'de': expected one of en, fr\n")
    monkeypatch.setenv("CLINADAPT_LANGUAGE", "de")
    assert run("encoders", capsys=capsys)[0] == 2


def test_an_old_code_page_gets_plain_signs():
    said = "1\u202f200 comptes rendus, l’étude → rapport"
    assert said.encode("latin-1", errors=PLAINER).decode("latin-1") == (
        "1 200 comptes rendus, l'étude ? rapport"
    )
