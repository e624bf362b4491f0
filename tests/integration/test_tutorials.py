"""The tutorials run, and hold the outputs of a run without anything of the machine."""

import re
import sys
from pathlib import Path

import nbformat
import pytest

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
sys.path.insert(0, str(TUTORIALS))

from run import NOTEBOOKS, executed  # noqa: E402

each_notebook = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def outputs(notebook):
    """What each cell printed or returned, as one string."""
    return [str(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


@each_notebook
def test_a_tutorial_runs(file, tmp_path):
    notebook = executed(file, tmp_path)
    kept = nbformat.read(file, as_version=4)
    ran = [bool(cell.get("outputs")) for cell in notebook.cells]
    assert ran == [bool(cell.get("outputs")) for cell in kept.cells]
    assert '"name": "stderr"' not in nbformat.writes(notebook)


@each_notebook
def test_no_output_names_the_machine(file):
    for shown in outputs(nbformat.read(file, as_version=4)):
        assert not re.search(r"(/home/|/tmp/|/root/|/work/|[A-Z]:\\)", shown)


@each_notebook
def test_links_to_files_are_not_broken(file):
    for cell in nbformat.read(file, as_version=4).cells:
        for target in re.findall(r"\]\(([^)#]+)\)", cell.source):
            assert (TUTORIALS / target).exists(), target
