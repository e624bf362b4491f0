"""Run parts of the comparison and write the results page.

``python -m benchmarks [PART ...]`` runs all parts by default; ``page`` only writes the page.
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
from clinadapt.data.notes import Notes, read_notes
from clinadapt.data.synthetic.built_in import built_in_notes

ROOT = HERE.parent
PAGE_ONLY = "page"


def main() -> int:
    """Run the command line and return the exit status."""
    options = _parser().parse_args()
    names = [name for name in options.parts or PARTS if name != PAGE_ONLY]
    if "gpu" in names and not torch.cuda.is_available():
        print("gpu: skipped, no CUDA device found")
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
    parser.add_argument("--name", default="", help="suffix of the result file")
    parser.add_argument("--notes", type=int, help="training notes; default: depends on the part")
    parser.add_argument(
        "--complete",
        action="store_true",
        help="run all epochs of the peers, so that they have scores; takes hours",
    )
    parser.add_argument("--encoder", help="encoder name or folder; default: random weights")
    parser.add_argument(
        "--layers", type=int, default=12, help="layers of the encoder with random weights"
    )
    parser.add_argument("--data", help="table of notes; default: built-in synthetic notes")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--group")
    parser.add_argument("--split")
    for name in ("peers", "adapters"):
        default = ROOT / f".venv-{name}" / "bin" / "python"
        parser.add_argument(f"--{name}", type=Path, default=default, help="Python interpreter")
    return parser


def _notes(options: argparse.Namespace) -> Notes:
    if options.data is None:
        return built_in_notes()
    columns = Columns(options.text, (options.label,), group=options.group, split=options.split)
    return read_notes(options.data, columns)


def _run_parts(names: list[str], options: argparse.Namespace, pythons: dict[str, Path]) -> None:
    notes = _notes(options)
    logs = Path(tempfile.mkdtemp(prefix="benchmarks-logs-"))
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as temporary:
        folder = Path(temporary)
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
    """Run the contestants of a part one after another; write the record after each."""
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
        _write(record | {"rows": rows}, page.RAW / f"{file_name}.json")


def _write(record: dict[str, object], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main())
