"""What a command imports before it knows that there is work for it."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "sklearn", "transformers", "pandas", "scipy.stats")
PROGRAM = f"""
import sys
from clinadapt.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code or 0
loaded = [name for name in {(*HEAVY, "polars", "numpy", "plotly")!r} if name in sys.modules]
print("imported", *loaded, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, small_table, finished_study):
    folder = tmp_path_factory.mktemp("start")
    small_table.write_csv(folder / "notes.csv")
    (folder / "study").symlink_to(finished_study)
    return folder


def imported(arguments, place):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=place, capture_output=True, text=True
    )
    last = done.stderr.splitlines()[-1].split()
    assert last[0] == "imported", done.stderr
    return done.returncode, set(last[1:])


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["study", "--help"]])
def test_help_imports_nothing_heavy(arguments, place):
    assert imported(arguments, place) == (0, set())


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "notes.csv", "--id", "id", "--group", "patient"],
        ["encoders"],
        ["cache", "."],
        ["report", "study"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_light_commands_import_no_model(arguments, place):
    code, loaded = imported(arguments, place)
    assert code == 0
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(
    "arguments",
    [
        ["study"],
        ["study", "absent.csv"],
        ["study", "notes.csv", "--study", "quik"],
        ["study", "notes.csv", "--metric", "f1_makro"],
        ["study", "notes.csv", "--encoder", "camembert-boi"],
        ["study", "notes.csv", "--memory", "much"],
        ["study", "notes.csv", "--out", "notes.csv"],
        ["plan", "absent.csv"],
        ["check", "notes.csv", "--group", "nobody"],
        ["predict", "absent", "notes.csv"],
        ["predict", "study/best", "absent.csv"],
        ["serve", "absent"],
        ["explain", "absent", "notes.csv"],
        ["errors", "absent", "notes.csv"],
        ["drift", "study/best", "absent.csv"],
        ["export", "absent", "notes.csv"],
        ["suggest", "absent", "notes.csv"],
        ["suggest", "study", "absent.csv"],
        ["track", "absent"],
        ["report", "absent"],
        ["pretrain", "absent.csv"],
        ["encoders", "--convert", "absent"],
    ],
    ids=" ".join,
)
def test_what_is_refused_is_refused_before_heavy_imports(arguments, place):
    code, loaded = imported(arguments, place)
    assert code == 2
    assert not loaded & set(HEAVY)
