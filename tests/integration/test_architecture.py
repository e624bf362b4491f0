"""`make layers` passes on the package, and fails for each kind of planted fault."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("src/clinadapt")


@pytest.fixture
def copied(tmp_path):
    """Copy the source and build files, to plant faults in them."""
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("builtin", "__pycache__")
    )
    for name in ("pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def layers(root):
    command = ["make", "layers", f"BIN={Path(sys.executable).parent}"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)


def plant(root, file, line):
    path = root / PACKAGE / file
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")


def test_the_package_is_in_order(copied):
    result = layers(copied)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("core/rng.py", "from clinadapt.data import labels", "Imports only go down BROKEN"),
        ("models/contract.py", "def f():\n    import clinadapt.study.runner", "down BROKEN"),
        ("data/labels.py", "import clinadapt.neural.dropout", "down BROKEN"),
        ("study/setup.py", "from clinadapt.study import runner", "No circles BROKEN"),
        ("models/load.py", "from clinadapt.models import shared_encoder", "No circles BROKEN"),
        (
            "deployment/drift/compare.py",
            "from clinadapt.deployment.scoring import loop",
            "do not import each other BROKEN",
        ),
        ("core/rng.py", "# a line\n" * 400, "core/rng.py: more than 400 lines"),
    ],
    ids=["upward", "upward-inside", "sideways", "circle", "second-circle", "rooms", "long"],
)
def test_a_planted_fault_is_found(copied, file, line, message):
    plant(copied, file, line)
    result = layers(copied)
    assert result.returncode != 0
    assert message in result.stdout, result.stdout


def test_a_new_room_without_a_level_is_found(copied):
    room = copied / PACKAGE / "attic"
    room.mkdir()
    (room / "__init__.py").write_text('"""A package without a layer."""\n')
    result = layers(copied)
    assert result.returncode != 0
    assert "attic" in result.stdout


def test_nothing_but_the_entrances_lies_in_the_package_itself():
    loose = sorted(path.name for path in (ROOT / PACKAGE).glob("*.py"))
    assert loose == ["__init__.py", "__main__.py"]
