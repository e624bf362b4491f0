"""Encoders of a study are looked for before its first run."""

import shutil

import pytest

from clinadapt import Study
from clinadapt.core.errors import InputError
from clinadapt.study.design import expand, load_design
from clinadapt.study.encoder_check import check_encoders


def runs(*encoders):
    configurations = [{"model": "pretrained", "encoder": list(encoders), "max_tokens": 16}]
    return expand(load_design({"name": "x", "configurations": configurations}))


@pytest.fixture(autouse=True)
def _nothing_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINADAPT_ENCODERS", str(tmp_path / "encoders"))
    monkeypatch.setenv("CLINADAPT_OFFLINE", "1")


def test_all_that_cannot_be_meant_is_told_at_once(encoder_folders, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    good = str(encoder_folders["bert"])
    names = ("camembert-boi", "evil/../../x", str(tmp_path / "absent"), str(empty), good)
    with pytest.raises(InputError) as caught:
        check_encoders(runs(*names))
    assert len(caught.value.problems) == 4
    assert "id you mean camembert-bio?" in caught.value.problems[0]
    assert "hf download" not in str(caught.value)


def test_a_known_encoder_that_is_not_here_is_left_to_its_runs_unless_it_was_asked_for():
    known = runs("drbert", "owner/name.v2")
    check_encoders(known)
    with pytest.raises(InputError) as caught:
        check_encoders(known, ["drbert", "owner/name.v2"])
    assert ["hf download" in problem for problem in caught.value.problems] == [True, True]


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json"])
def test_a_folder_that_is_no_encoder(encoder_folders, tmp_path, lost):
    folder = shutil.copytree(encoder_folders["bert"], tmp_path / "bert")
    if lost == "config.json":
        (folder / lost).write_bytes(b"")
    else:
        (folder / lost).unlink()
    with pytest.raises(InputError, match="bert"):
        check_encoders(runs(str(folder)))


def test_nothing_is_fitted_nor_written_before(small_notes, tmp_path):
    configurations = [{"model": "tfidf-logistic"}, {"model": "pretrained", "encoder": "camembrt"}]
    design = {"name": "x", "configurations": configurations}
    with pytest.raises(InputError, match="neither a known encoder"):
        Study(small_notes, design, tmp_path / "out").run()
    assert not (tmp_path / "out").exists()
