"""Exported networks against the native one, on labelled notes: speed, probabilities, F1.

    python benchmarks/exported.py NOTES --label label --group group --split split \
        --encoder clinadapt-mini-fr --learning-rate 3e-3 --out OUT.json

Fits one classifier on the training notes, exports it in every way that is installed, and reads the
test notes with each, in turns, in one process. A difference of F1 is paired: both models on the
same resamples of patients (of notes, where no group is given). Speed is that of the whole
`predict_proba`, tokenizer included; `OMP_NUM_THREADS` says of how many cores, and the table repeats
it.
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
from clinadapt.evaluation.paired_comparison import Scores

HEADING = """\
| run by | MB | speed | largest difference | mean | decisions changed | {metric} | change [95 %] |
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
        made = make_candidates(native, Path(folder), ["fp32", "int8"])
        seconds, measured, probabilities = measure(native, made, texts, options.rounds)
    names = [f"{one.runtime} {one.weights}" for one in measured]
    predicted = {
        name: [(found, native.predict_matrix(found))]
        for name, found in zip(["native", *names], probabilities, strict=True)
    }
    scores = Scores(labels, clusters, metric, predicted)
    changes = scores.differences([(name, "native") for name in names])
    speed = len(texts) / seconds
    print(
        f"{options.encoder}, tuned layers {options.tuned_layers}, {len(texts)} test notes of at "
        f"most {options.max_tokens} tokens, {torch.get_num_threads()} thread(s); native: "
        f"{speed:.0f} notes/s, {metric} {scores.value['native']:.4f}"
    )
    print(HEADING.format(metric=metric))
    told = []
    for name, found in zip(names, measured, strict=True):
        change = changes[name, "native"]
        cells = [name, f"{found.file_bytes / 1e6:.1f}", f"{found.speed:.2f}"]
        cells += [f"{found.largest:.5f}", f"{found.mean:.6f}", str(found.changed)]
        cells += [f"{scores.value[name]:.4f}"]
        cells += [f"{change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"]
        print(f"| {' | '.join(cells)} |")
        told.append(asdict(found) | {"score": scores.value[name], "change": change.to_json()})
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
        options.out.write_text(json.dumps(about | {"rows": told}, indent=1), encoding="utf-8")


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
    parser.add_argument("--share", type=float, default=1.0, help="of the training notes")
    parser.add_argument("--most", type=int, help="test notes that are read; default: all")
    parser.add_argument("--rounds", type=int, default=2, help="the shortest time counts")
    parser.add_argument("--out", type=Path, help="JSON file of the same numbers")
    return parser


if __name__ == "__main__":
    main()
