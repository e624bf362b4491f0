"""`make wheelhouse`, run on a package of a few lines and an index of three wheels."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "clinadapt"
version = "7"
dependencies = ["tiny-base"]
[project.optional-dependencies]
serve = ["tiny-server"]
[tool.hatch.build]
include = ["clinadapt.py"]
"""


def write_wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel without content."""
    known = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(
            f"{known}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{known}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{known}/RECORD", "")


@pytest.fixture
def project(tmp_path) -> Path:
    index = tmp_path / "index"
    index.mkdir()
    for name, version in [("tiny_base", "1"), ("tiny_base", "2"), ("tiny_server", "5")]:
        write_wheel(index, name, version)
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "clinadapt.py").touch()
    (folder / "constraints.txt").write_text("tiny-base==1\n", encoding="utf-8")
    return folder


@pytest.fixture
def make(project, monkeypatch):
    """Run `make wheelhouse` offline, with the site taken as built."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(project.parent / "index"))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip reads it as "no isolation"
    own = [f"BIN={Path(sys.executable).parent}", f"PYTHON={sys.executable}"]

    def call(*more: str) -> "subprocess.CompletedProcess[str]":
        command = ["make", "--old-file=docs", "wheelhouse", *own, *more]
        return subprocess.run(command, cwd=project, capture_output=True, text=True)

    return call


def test_it_holds_the_tested_versions_of_all_that_is_needed(make, project):
    done = make("EXTRAS=serve")
    assert done.returncode == 0, done.stderr
    wheels = {file.name for file in (project / "wheelhouse").glob("*.whl")}
    assert {name.split("-py")[0] for name in wheels} == {
        "clinadapt-7",
        "tiny_base-1",
        "tiny_server-5",
    }
    check = ["sha256sum", "--check", "SHA256SUMS"]
    told = subprocess.run(
        check, cwd=project / "wheelhouse", capture_output=True, text=True, check=True
    )
    assert told.stdout.count(": OK") == len(wheels)
    assert "pip install --no-index --find-links wheelhouse 'clinadapt[serve]'" in done.stdout


def test_what_cannot_be_had_is_an_error(make, project):
    (project.parent / "index" / "tiny_server-5-py3-none-any.whl").unlink()
    done = make("EXTRAS=serve")
    assert done.returncode != 0
    assert "tiny-server" in done.stderr
    assert not (project / "wheelhouse" / "SHA256SUMS").exists()
