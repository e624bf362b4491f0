"""The command `docs`: pages by name, and what it says where there are none."""

import pytest
from command import run

from clinadapt.cli import docs


@pytest.fixture
def installed(tmp_path, monkeypatch):
    for name in ("index", "statistics", "how-to/slurm", "search"):
        page = tmp_path / f"{name}.html"
        page.parent.mkdir(exist_ok=True)
        page.write_text("")
    monkeypatch.setattr(docs, "PAGES", tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_page_is_found_by_its_name(installed, capsys):
    code, shown, _ = run("docs", "slurm", capsys=capsys)
    assert code == 0
    assert shown == (installed / "how-to" / "slurm.html").as_uri()
    assert run("docs", capsys=capsys)[1] == (installed / "index.html").as_uri()


def test_a_section_of_a_page(installed):
    assert (
        docs.find("Statistics#interval") == (installed / "statistics.html").as_uri() + "#interval"
    )


def test_opened_where_there_is_a_display(installed, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    run("docs", capsys=capsys)
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    run("docs", capsys=capsys)
    assert opened == [(installed / "index.html").as_uri()]


def test_an_unknown_page_is_an_error_that_lists_the_pages(installed, capsys):
    code, _, said = run("docs", "clusters", capsys=capsys)
    assert code == 2
    assert "there is no page 'clusters'; pages: index, slurm, statistics" in said


def test_a_package_without_pages_says_how_to_build_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(docs, "PAGES", tmp_path / "nothing")
    code, _, said = run("docs", capsys=capsys)
    assert code == 2
    assert "make docs" in said
