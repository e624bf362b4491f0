"""Compares predicted with actual time and memory of the runs of a study, for six kinds of models.

    python benchmarks/plan_accuracy.py --out accuracy.json
    python benchmarks/plan_accuracy.py --notes notes.csv --group patient --kinds sparse scratch

The plan and the study run in separate processes, one after the other.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ENCODER = {"model": "pretrained", "encoder": "minilm", "max_tokens": 128}
KINDS = {
    "sparse": [
        {"model": "tfidf-logistic"},
        {"model": "tfidf-logistic", "characters": True},
        {"model": "tfidf-mlp"},
        {"model": "tfidf-autoencoder"},
    ],
    "scratch": [{"model": ["transformer", "moe"], "max_tokens": 128, "epochs": 10}],
    "frozen": [{**ENCODER, "adapter": "none"}],
    "frozen, on tokens": [
        {**ENCODER, "adapter": ["bottleneck", "tiny_attention"], "epochs": 10},
        {**ENCODER, "adapter": "gated_residual", "match_parameters": 50_000, "epochs": 10},
    ],
    "top layers tuned": [{**ENCODER, "tuned_layers": [1, 2], "epochs": 3}],
    "all tuned": [{**ENCODER, "tuned_layers": "all", "epochs": 2}],
}


def open_study(options, folder):
    from clinadapt import Study
    from clinadapt.core.formatting import parse_bytes
    from clinadapt.data.columns import Columns
    from clinadapt.data.notes import read_notes
    from clinadapt.data.synthetic.built_in import built_in_notes

    if options.notes is None:
        n = options.size
        notes = built_in_notes(n_notes=n, n_patients=n // 4, n_positive=round(0.36 * n))
    else:
        notes = read_notes(options.notes, Columns(group=options.group))
    configurations = [entry for kind in options.kinds for entry in KINDS[kind]]
    memory = None if options.memory is None else parse_bytes(options.memory)
    design = {"name": "accuracy", "configurations": configurations}
    return Study(notes, design, folder, memory=memory)


def make(options, folder):
    import time

    from clinadapt.study.planning.plan import make_plan

    study = open_study(options, folder)
    started = time.perf_counter()
    make_plan(study).save(study.out)
    print(f"planned in {time.perf_counter() - started:.0f} s", flush=True)


def run(options, folder):
    lines = []

    def finished(result):
        if result["status"] != "done":
            print(f"{result['status']}: {result['configuration']}: {result['reason']}")
            return
        spent, predicted = result["cost"], result["cost"]["predicted"]
        line = {
            "configuration": result["configuration"],
            "seconds": spent["seconds"],
            "predicted_seconds": predicted["seconds_of_epochs_run"],
            "epochs": [len(result["training"]), predicted["epochs"]],
            "peak_memory_bytes": spent["peak_memory_bytes"],
            "predicted_peak_memory_bytes": predicted["peak_memory_bytes"],
            "memory_savings": spent["memory_savings"],
        }
        lines.append(line)
        print(
            f"{line['configuration'][:46]:46} "
            f"{line['predicted_seconds']:7.1f} {line['seconds']:7.1f} s "
            f"{off(line, 'seconds'):+6.0%}  {line['predicted_peak_memory_bytes'] / 1e6:6,.0f} "
            f"{line['peak_memory_bytes'] / 1e6:6,.0f} MB {off(line, 'peak_memory_bytes'):+6.0%}",
            flush=True,
        )

    print(f"{'configuration':46} {'plan':>7} {'actual':>7}           {'plan':>6} {'actual':>6}")
    open_study(options, folder).run(finished=finished)
    for name in ("seconds", "peak_memory_bytes"):
        print(f"worst {name}: {max(abs(off(line, name)) for line in lines):.0%}")
    return lines


def off(line, name):
    """Return the relative error of a prediction."""
    return line[f"predicted_{name}"] / line[name] - 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--notes", type=Path, help="table of notes; default: built-in notes")
    parser.add_argument("--group", help="patient column")
    parser.add_argument("--size", type=int, default=1200, help="number of built-in notes")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--memory", help="memory limit, such as 2GB")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--stage", choices=("plan", "study"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="folder of the study; default: temporary")
    options = parser.parse_args()
    if options.stage == "plan":
        make(options, options.folder)
        return
    if options.stage == "study":
        lines = run(options, options.folder)
        if options.out is not None:
            options.out.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
        return
    with tempfile.TemporaryDirectory(prefix="clinadapt-") as temporary:
        folder = ["--folder", str(options.folder or temporary)]
        for stage in ("plan", "study"):
            subprocess.run([sys.executable, *sys.argv, *folder, "--stage", stage], check=True)


if __name__ == "__main__":
    main()
