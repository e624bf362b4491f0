"""A study run from Python: quiet in scripts, with a bar in notebooks or where asked for."""

import sys
from types import SimpleNamespace

import pytest

from clinadapt import FinishedStudy, Study
from clinadapt.notebook import progress_display

DESIGN = {"name": "one", "resamples": 100, "configurations": [{"model": "tfidf-logistic"}]}


class Place:
    """An output of a notebook."""

    def __init__(self):
        self.shown = []

    def update(self, html):
        self.shown.append(html)


@pytest.fixture
def place(monkeypatch):
    """The output of a notebook in which the test seems to run."""
    place = Place()
    display = SimpleNamespace(HTML=str, display=lambda html, display_id: place)
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return place


def test_a_script_prints_nothing(small_notes, tmp_path, capfd):
    study = Study(small_notes, DESIGN, tmp_path / "out").run()
    assert isinstance(study, FinishedStudy)
    assert capfd.readouterr() == ("", "")


def test_a_notebook_shows_bars_that_disappear(small_notes, tmp_path, place):
    Study(small_notes, DESIGN, tmp_path / "out").run()
    assert any("runs: 1 of 1" in html for html in place.shown)
    assert place.shown[-1] == ""


def test_no_bar_in_a_notebook_that_asks_for_none(small_notes, tmp_path, place):
    Study(small_notes, DESIGN, tmp_path / "out").run(progress=False)
    assert place.shown == []


def test_a_script_may_ask_for_a_bar(small_notes, tmp_path, capfd):
    Study(small_notes, DESIGN, tmp_path / "out").run(progress=True)
    assert not progress_display.in_notebook()
    assert capfd.readouterr().out == ""


def test_a_function_is_told_how_far_it_is(small_notes, tmp_path):
    told = []
    Study(small_notes, DESIGN, tmp_path / "out").run(lambda *step: told.append(step))
    assert ("runs", 1, 1) in told


def test_names_of_stages_are_no_html(place):
    with progress_display.progress_display() as show:
        show("<b>", 1, 2)
    assert "&lt;b&gt;: 1 of 2" in place.shown[0]
