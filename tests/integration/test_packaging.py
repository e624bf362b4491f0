"""What is published works by itself: wheel and sdist, installed where nothing else is.

The environment has this machine's copies of what clinadapt says it needs, and of nothing more; so a
dependency that is used and not named, or a file that is not packed, is found here.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import polars as pl
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import clinadapt

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
ENCODER = "clinadapt/features/encoders/builtin/clinadapt-mini-fr"
PAGE = "clinadapt/documentation/index.html"
# What only a user would miss, and no import.
NEEDED = {
    "clinadapt/py.typed",
    "clinadapt/core/page/page.css",
    "clinadapt/data/synthetic/phrases.toml",
    "clinadapt/report/page/page.js",
    "clinadapt/report/page/page.html.jinja",
    "clinadapt/study/designs/demo.toml",
    f"{ENCODER}/LICENSE.md",
    f"{ENCODER}/model.safetensors",
    f"{ENCODER}/tokenizer.json",
    PAGE,
}
STUDY = 'name = "one"\n[[configurations]]\nmodel = "tfidf-logistic"\n'
INTERPRETERS = ["3.12", "3.13"]


def built(source: Path, kind: str) -> Path:
    """Build a wheel or an sdist from a source tree, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (file,) = (source / "dist").glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return file


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what is published, with one page of the documentation built."""
    folder = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "documentation")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    page = folder / "src" / PAGE
    page.parent.mkdir()
    page.write_text("<title>clinadapt</title>", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def wheel(source) -> Path:
    return built(source, "wheel")


@pytest.fixture(scope="module")
def contents(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def needs(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """Return the packages that a package needs, and those that they need."""
    found: set[str] = set()
    waiting = [(name, extras)]
    while waiting:
        package, extras = waiting.pop()
        for line in distribution(package).requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                continue
            needed = canonicalize_name(requirement.name)
            if needed not in found or requirement.extras:
                found.add(needed)
                waiting.append((needed, tuple(requirement.extras)))
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The programs of an environment with the wheel, and with what it says that it needs."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, with_pip=False)
    programs = root / ("Scripts" if os.name == "nt" else "bin")
    (packages,) = root.glob("**/site-packages")
    for name in needs("clinadapt"):
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (packages / top).exists():
                (packages / top).symlink_to(distribution(name).locate_file(top))
    command = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet"]
    command += ["--no-index", "--no-deps", "--no-compile", wheel]
    subprocess.run([str(word) for word in command], check=True)
    return programs


@pytest.fixture
def run(installed, tmp_path):
    """Run the installed command line in an empty folder, and return what it prints."""
    own = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}

    def call(*words: str) -> str:
        done = subprocess.run(
            [installed / "clinadapt", *words],
            cwd=tmp_path,
            env=own,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def test_the_wheel_has_what_a_user_needs_and_nothing_of_the_developers(contents):
    assert contents >= NEEDED
    assert {name.split("/")[0] for name in contents} == {
        "clinadapt",
        f"clinadapt-{clinadapt.__version__}.dist-info",
    }
    licences = {name for name in contents if ".dist-info/licenses/" in name}
    assert {name.rpartition("/")[2] for name in licences} == {"LICENSE", "LICENSE.md"}


def test_every_file_of_the_package_is_in_the_wheel(source, contents):
    files = {
        path.relative_to(source / "src").as_posix()
        for path in (source / "src").rglob("*")
        if path.is_file()
    }
    assert files == {name for name in contents if name.startswith("clinadapt/")}


def test_an_sdist_makes_the_same_wheel(source, wheel, contents, tmp_path):
    copy = shutil.copytree(source, tmp_path / "copy", ignore=shutil.ignore_patterns("dist"))
    (copy / "src" / ENCODER / "model.safetensors").write_bytes(b"")  # compressing takes seconds
    with tarfile.open(built(copy, "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    again = built(unpacked, "wheel")
    assert again.name == wheel.name
    with zipfile.ZipFile(again) as archive:
        assert set(archive.namelist()) == contents


def test_installed_it_says_what_it_is_and_has_its_encoder_and_pages(run):
    assert run("--version").strip() == f"clinadapt {clinadapt.__version__}"
    encoders = {one["name"]: one["folder"] for one in json.loads(run("encoders", "--json"))}
    assert encoders["clinadapt-mini-fr"].endswith(f"site-packages/{ENCODER}")
    assert run("docs").strip().endswith(PAGE)


def test_installed_it_checks_studies_and_predicts(run, tmp_path, small_table):
    small_table.write_csv(tmp_path / "notes.csv")
    (tmp_path / "one.toml").write_text(STUDY, encoding="utf-8")
    columns = ["--text", "text", "--label", "label", "--group", "patient"]
    assert "240 notes" in run("check", "notes.csv", *columns)
    run("study", "notes.csv", *columns, "--study", "one.toml", "--out", "out", "--offline")
    assert (tmp_path / "out" / "report.html").stat().st_size > 1_000_000  # has its charts' library
    run("predict", "out/best", "notes.csv", "--text", "text", "--out", "scores.parquet")
    assert len(pl.read_parquet(tmp_path / "scores.parquet")) == 240


@pytest.mark.parametrize("version", INTERPRETERS)
def test_a_later_python_compiles_every_module_without_a_warning(version):
    """Nothing is run: that needs every dependency; `make test-pythons` installs them."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"needs Python {version}")
    code = (
        "import pathlib, sys\n"
        "for path in pathlib.Path(sys.argv[1]).rglob('*.py'):\n"
        "    compile(path.read_text(encoding='utf-8'), path, 'exec')\n"
    )
    subprocess.run([python, "-W", "error", "-c", code, ROOT / "src"], check=True)


def interpreter(version: str) -> str | None:
    """Return a Python of a version: on the path, or one that pyenv has installed."""
    if found := shutil.which(f"python{version}"):
        probe = subprocess.run([found, "-V"], capture_output=True)  # a shim may lead nowhere
        if probe.returncode == 0:
            return found
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return next((str(path) for path in sorted(root.glob(f"{version}.*/bin/python"))), None)
