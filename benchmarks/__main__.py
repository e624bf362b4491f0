"""Run parts of the comparison and write the page.

``python -m benchmarks [PART ...]``: every part where none is named; ``page`` only writes the page.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks import contest, machine, page, workload
from benchmarks.contest import HERE, Plan
from benchmarks.parts import PARTS
from benchmarks.workload import Workload
from clinadapt.core.device import environment
from clinadapt.core.errors import ClinadaptError
from clinadapt.data.columns import Columns
from clinadapt.data.notes import Notes, built_in_notes, read_notes

ROOT = HERE.parent
PAGE_ONLY = "page"


def main() -> int:
    """Do what the command line says; returns the exit status."""
    options = _parser().parse_args()
    names = [name for name in options.parts or PARTS if name != PAGE_ONLY]
    if "gpu" in names and not torch.cuda.is_available():
        print("gpu: there is no CUDA device here, so there is nothing to measure")
        names.remove("gpu")
    pythons = {
        "clinadapt": Path(sys.executable),
        "peers": options.peers,
        "adapters": options.adapters,
    }
    try:
        if names:
            _run_parts(names, options, pythons)
    except ClinadaptError as error:
        print(error, file=sys.stderr)
        return 2
    if names or PAGE_ONLY in options.parts:
        print(page.write())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, PAGE_ONLY], metavar="PART")
    parser.add_argument("--name", default="", help="keep the results beside those without it")
    parser.add_argument("--notes", type=int, help="training notes; default: the part's own number")
    parser.add_argument(
        "--complete",
        action="store_true",
        help="peers do all epochs and all runs, so that they have scores; hours",
    )
    parser.add_argument("--encoder", help="known name or folder; default: random weights")
    parser.add_argument("--layers", type=int, default=12, help="of the encoder that is made")
    parser.add_argument("--data", help="table of notes; default: the built-in synthetic ones")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--group")
    parser.add_argument("--split")
    for name in ("peers", "adapters"):
        default = ROOT / f".venv-{name}" / "bin" / "python"
        parser.add_argument(f"--{name}", type=Path, default=default, help="that Python")
    return parser


def _notes(options: argparse.Namespace) -> Notes:
    if options.data is None:
        return built_in_notes()
    columns = Columns(options.text, (options.label,), group=options.group, split=options.split)
    return read_notes(options.data, columns)


def _run_parts(names: list[str], options: argparse.Namespace, pythons: dict[str, Path]) -> None:
    notes = _notes(options)
    logs = Path(tempfile.mkdtemp(prefix="benchmarks-logs-"))
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as made:
        folder = Path(made)
        encoder_folder, encoder = workload.find_encoder(
            options.encoder, options.layers, list(notes.texts), folder / "encoder"
        )
        for name in names:
            size = options.notes or PARTS[name].NOTES
            work = workload.prepare(notes, size, encoder_folder, encoder, folder)
            _run_part(name, options, work, pythons, logs)
    if not any(logs.iterdir()):
        logs.rmdir()


def _run_part(
    name: str, options: argparse.Namespace, work: Workload, pythons: dict[str, Path], logs: Path
) -> None:
    """Run a part's contestants one after another; the record is kept after each."""
    plan = Plan(work, complete=options.complete or name == "gpu")
    record = {
        "part": name,
        "name": options.name,
        "environment": environment(),
        "machine": machine.measure(),
        "workload": work.record(),
    }
    file_name = f"{name}-{options.name}" if options.name else name
    rows = []
    for entry in PARTS[name].entries(plan):
        print(f"{name}: {entry.method}, {entry.settings} … ", end="", flush=True)
        row = contest.run(entry, plan, pythons[entry.environment], logs)
        reason = page.failure(row)
        log = logs / f"{entry.script}.log"
        where = f" (see {log})" if log.is_file() else ""
        print(f"failed: {reason}{where}" if reason else f"{contest.row_seconds(row):,.1f} s")
        rows.append(row)
        _keep(record | {"rows": rows}, page.RAW / f"{file_name}.json")


def _keep(record: dict[str, object], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main())
