"""A study refuses a folder in which it would overwrite what is not its own."""

import shutil

import pytest

from clinadapt import Study, write_report
from clinadapt.core.errors import InputError
from clinadapt.study.study_folder import FILES, FOLDERS, check_study_folder

DESIGN = {"name": "one", "resamples": 100, "configurations": [{"model": "tfidf-logistic"}]}


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def finished(small_notes, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    Study(small_notes, DESIGN, out).run()
    write_report(out)
    return out


@pytest.fixture
def own(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "own")


def test_everything_that_is_not_a_studys_is_told_at_once(small_notes, tmp_path):
    mine = tmp_path / "mine"
    (mine / "best").mkdir(parents=True)
    (mine / "cells").mkdir()
    (mine / "cells" / "thesis.txt").write_text("mine")
    (mine / "best" / "thesis.txt").write_text("mine")
    for name in ("report.html", "leaderboard.csv", "split.json"):
        (mine / name).write_text("mine")
    before = tree(mine)
    with pytest.raises(InputError) as refusal:
        Study(small_notes, DESIGN, mine).run()
    told = str(refusal.value)
    for name in ("best", "cells", "report.html", "leaderboard.csv", "split.json"):
        assert str(mine / name) in told
    assert tree(mine) == before


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", ["mine", "[]", '{"title": "mine"}', '{"data": []}'])
def test_each_file_of_somebody_else(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=name):
        check_study_folder(tmp_path)


@pytest.mark.parametrize("name", FOLDERS)
def test_each_folder_of_somebody_else(name, tmp_path):
    (tmp_path / name).mkdir()
    check_study_folder(tmp_path)  # it is empty
    (tmp_path / name / "mine").write_text("mine")
    with pytest.raises(InputError, match=name):
        check_study_folder(tmp_path)


def test_other_files_do_not_matter(tmp_path):
    (tmp_path / "notes.csv").write_text("mine")
    (tmp_path / "cache" / ("0" * 24)).mkdir(parents=True)
    check_study_folder(tmp_path)
    check_study_folder(tmp_path / "new" / "deep")


def test_a_folder_of_a_study(own):
    check_study_folder(own)
    (own / "report.html").write_text("damaged")
    (own / "study.json").write_text("{")  # the runs show whose it is
    check_study_folder(own)
    (own / "study.json").unlink()
    check_study_folder(own)
    assert set(FILES + FOLDERS) >= {path.name for path in own.iterdir()}


def test_a_users_file_beside_the_best_model_is_kept(own):
    (own / "best" / "thesis.txt").write_text("mine")
    (own / "best" / "model" / "mine").mkdir()
    (own / "best" / "model" / "mine" / "notes.csv").write_text("mine")
    with pytest.raises(InputError, match=r"thesis\.txt"):
        check_study_folder(own)


def test_a_file_in_place_of_a_folder(own):
    shutil.rmtree(own / "cells")
    (own / "cells").write_text("mine")
    with pytest.raises(InputError, match="cells is a file"):
        check_study_folder(own)
    with pytest.raises(InputError, match="is not a folder"):
        check_study_folder(own / "study.json")
