"""Compares exported networks with the native one on labelled notes: speed, probabilities, F1.

    python benchmarks/exported.py NOTES --label label --group group --split split \
        --encoder clinadapt-mini-fr --learning-rate 3e-3 --out OUT.json

Fits one classifier on the training notes, exports it for all installed runtimes, and reads the test
notes with each, alternating, in one process. Differences of F1 are paired: both models use the same
resamples of patients, or of notes if no group is given. Speed is that of the complete
`predict_proba`, tokenizer included. `OMP_NUM_THREADS` sets the number of threads, which is printed.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import labelled
import numpy as np
import torch

from clinadapt import NoteClassifier, PretrainedModel
from clinadapt.core.device import environment
from clinadapt.data.split import make_split, thinned
from clinadapt.deployment.onnx_export.export import make_candidates, measure
from clinadapt.evaluation import metrics
from clinadapt.evaluation.paired_comparison import ResampledScores

HEADING = """\
| runtime | MB | speed | largest difference | mean | changed | {metric} | change [95 %] |
|---|--:|--:|--:|--:|--:|--:|---|"""


def main() -> None:
    options = _parser().parse_args()
    notes = labelled.read(options)
    split = make_split(notes)
    if options.share < 1:
        split = thinned(split, notes, options.share, 0)
    parts = {
        name: (notes.texts.take(rows), notes.labels.take(rows), notes.clusters[rows])
        for name, rows in split.parts().items()
    }
    model = PretrainedModel(
        options.encoder,
        tuned_layers=int(options.tuned_layers) if options.tuned_layers != "all" else "all",
        max_tokens=options.max_tokens,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
    )
    native = NoteClassifier(model)
    native.fit_parts(*parts["train"][:2], *parts["validation"][:2])
    texts, labels, clusters = parts["test"]
    if options.most is not None:
        rows = np.linspace(0, len(texts) - 1, min(options.most, len(texts))).astype(np.int64)
        texts, labels, clusters = texts.take(rows), labels.take(rows), clusters[rows]
    metric = metrics.PRIMARY[labels.task]
    with tempfile.TemporaryDirectory() as folder:
        candidates = make_candidates(native, Path(folder), ["fp32", "int8"])
        seconds, measured, probabilities = measure(native, candidates, texts, options.rounds)
    names = [f"{one.runtime} {one.weights}" for one in measured]
    predicted = {
        name: [(matrix, native.predict_matrix(matrix))]
        for name, matrix in zip(["native", *names], probabilities, strict=True)
    }
    scores = ResampledScores(labels, clusters, metric, predicted)
    changes = scores.differences([(name, "native") for name in names])
    speed = len(texts) / seconds
    print(
        f"{options.encoder}, tuned layers {options.tuned_layers}, {len(texts)} test notes of at "
        f"most {options.max_tokens} tokens, {torch.get_num_threads()} thread(s); native: "
        f"{speed:.0f} notes/s, {metric} {scores.value['native']:.4f}"
    )
    print(HEADING.format(metric=metric))
    rows = []
    for name, result in zip(names, measured, strict=True):
        change = changes[name, "native"]
        cells = [name, f"{result.file_bytes / 1e6:.1f}", f"{result.speed:.2f}"]
        cells += [f"{result.largest:.5f}", f"{result.mean:.6f}", str(result.changed)]
        cells += [f"{scores.value[name]:.4f}"]
        cells += [f"{change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"]
        print(f"| {' | '.join(cells)} |")
        rows.append(asdict(result) | {"score": scores.value[name], "change": change.to_json()})
    if options.out is not None:
        about = {
            "encoder": options.encoder,
            "tuned_layers": options.tuned_layers,
            "max_tokens": options.max_tokens,
            "metric": metric,
            "native_seconds": seconds,
            "native_score": scores.value["native"],
            "environment": environment(),
        }
        options.out.write_text(json.dumps(about | {"rows": rows}, indent=1), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    labelled.add_options(parser)
    parser.add_argument("--encoder", default="clinadapt-mini-fr")
    parser.add_argument("--tuned-layers", default="0", help="a number, or all")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--share", type=float, default=1.0, help="share of the training notes")
    parser.add_argument("--most", type=int, help="maximum number of test notes; default: all")
    parser.add_argument("--rounds", type=int, default=2, help="the shortest time counts")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    return parser


if __name__ == "__main__":
    main()
