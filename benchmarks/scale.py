"""Time and memory by number of notes: reading, splitting, training with frozen encoder, predicting.

    python benchmarks/scale.py --sizes 10000 100000 1000000 --out scale.json

Each stage of each size runs in a separate process, on synthetic notes of about twenty words and a
small encoder with random weights: the program is measured, not the encoder.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = ("read", "split", "fit", "predict")
ROWS_AT_ONCE = 10_000
WORDS = 20
SEED_NOTES = {"n_notes": 2000, "n_patients": 500, "n_positive": 800}


def write_notes(path, n):
    """Write notes as Parquet: twenty consecutive words of built-in notes, four per patient."""
    import polars as pl
    import pyarrow.parquet as pq

    from clinadapt.data.synthetic.generator import generate

    source = generate(**SEED_NOTES)
    words = [text.split() for text in source["text"]]
    labels = source["label"].to_list()
    chance, writer = random.Random(0), None
    for start in range(0, n, ROWS_AT_ONCE):
        rows = range(start, min(start + ROWS_AT_ONCE, n))
        chosen = [chance.randrange(len(words)) for _ in rows]
        begins = [chance.randrange(max(1, len(words[at]) - WORDS)) for at in chosen]
        table = pl.DataFrame(
            {
                "id": [f"note-{row}" for row in rows],
                "patient": [f"patient-{row // 4}" for row in rows],
                "text": [
                    f"{' '.join(words[at][begin : begin + WORDS])} {row}"
                    for at, begin, row in zip(chosen, begins, rows, strict=True)
                ],
                "label": [labels[at] for at in chosen],
            }
        ).to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def write_encoder(folder):
    """Write a BERT with two layers of width 64 and random weights, and its vocabulary."""
    import torch
    import transformers

    from clinadapt.data.synthetic.generator import generate

    text = " ".join(generate(**SEED_NOTES)["text"].to_list()).lower()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(text) - {" ", "\n"})]
    pieces += [f"##{letter}" for letter in sorted(set(text)) if letter.isalnum()]
    pieces += sorted({word for word in text.split() if word.isalpha()})
    folder.mkdir()
    vocabulary = list(dict.fromkeys(pieces))
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=64,
    )
    transformers.BertForMaskedLM(config).save_pretrained(folder)


def columns():
    from clinadapt.data.columns import Columns

    return Columns(id="id", group="patient")


def models(encoder):
    from clinadapt import PretrainedModel

    shared = {"encoder": str(encoder), "max_tokens": 64, "epochs": 2, "batch_size": 64}
    return {
        "none": PretrainedModel(**shared),
        "bottleneck": PretrainedModel(adapter="bottleneck", placement="pooled", **shared),
    }


def stage_read(folder):
    from clinadapt.data.notes import read_notes

    read_notes(folder / "notes.parquet", columns())


def stage_split(folder):
    from clinadapt.data.notes import read_notes
    from clinadapt.data.split import make_split

    notes = read_notes(folder / "notes.parquet", columns())
    clock = time.perf_counter()
    make_split(notes)
    _ = notes.fingerprint
    return {"seconds": time.perf_counter() - clock}


def stage_fit(folder):
    import numpy as np

    from clinadapt import NoteClassifier
    from clinadapt.core.run_context import Context
    from clinadapt.data.notes import read_notes
    from clinadapt.data.split import make_split

    notes = read_notes(folder / "notes.parquet", columns())
    split = make_split(notes)
    train, validation = notes.take(split.train), notes.take(split.validation)
    clock = time.perf_counter()
    seconds = {}
    context = Context(cache=folder / "cache")
    for name, model in models(folder.parent / "encoder").items():
        classifier = NoteClassifier(model)
        if not seconds:
            both = np.concatenate([split.train, split.validation])
            classifier.prepare(notes.texts.take(both), context)
            seconds["encode_seconds"] = time.perf_counter() - clock
        started = time.perf_counter()
        classifier.fit_parts(
            train.texts, train.labels, validation.texts, validation.labels, context
        )
        seconds[f"{name}_seconds"] = time.perf_counter() - started
        classifier.save(folder / "bundle")
    return {"seconds": time.perf_counter() - clock, "notes": len(train) + len(validation)} | seconds


def stage_predict(folder):
    from clinadapt.deployment.scoring.job import Prediction

    notes = [str(folder / "notes.parquet")]
    Prediction(folder / "bundle", notes, folder / "p.parquet", id="id").run()


def measure(stage, folder, n):
    """Run a stage in this process; return its time, notes per second and peak memory in MB."""
    import threading

    import polars  # noqa: F401 (loading libraries is not part of a stage)
    import torch  # noqa: F401
    import transformers  # noqa: F401

    import clinadapt.study.runner  # noqa: F401

    base, peak, done = memory(), memory(), threading.Event()

    def watch():
        while not done.wait(0.02):
            now = memory()
            peak.update({kind: max(peak[kind], now[kind]) for kind in now})

    watcher = threading.Thread(target=watch)
    watcher.start()
    clock = time.perf_counter()
    results = globals()[f"stage_{stage}"](folder) or {}
    seconds = results.pop("seconds", time.perf_counter() - clock)
    notes = results.pop("notes", n)
    done.set()
    watcher.join()
    return {
        "stage": stage,
        "notes": n,
        "seconds": round(seconds, 2),
        "notes_a_second": round(notes / seconds),
        "peak_anonymous_mb": peak["RssAnon"],
        "peak_total_mb": memory()["VmHWM"],
        "libraries_mb": base["VmRSS"],
        **{name: round(value, 2) for name, value in results.items()},
    }


def memory():
    """Return the resident memory of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {kind: int(values[kind].split()[0]) // 1024 for kind in ("RssAnon", "VmRSS", "VmHWM")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # stage, folder, notes
    asked = parser.parse_args()
    if asked.one:
        stage, folder, n = asked.one
        asked.out.write_text(json.dumps(measure(stage, Path(folder), int(n))), encoding="utf-8")
        return
    results = []
    with tempfile.TemporaryDirectory(prefix="clinadapt-scale-") as root:
        write_encoder(Path(root) / "encoder")
        print(f"{'stage':8} {'notes':>9} {'seconds':>8} {'notes/s':>9} {'anon MB':>8} {'MB':>6}")
        for n in asked.sizes:
            folder = Path(root) / str(n)
            folder.mkdir()
            write_notes(folder / "notes.parquet", n)
            for stage in asked.stages:
                one = folder / f"{stage}.json"
                command = [sys.executable, __file__, "--one", stage, str(folder), str(n)]
                subprocess.run([*command, "--out", str(one)], check=True)
                result = json.loads(one.read_text(encoding="utf-8"))
                results.append(result)
                print(
                    f"{stage:8} {n:9,} {result['seconds']:8.1f} {result['notes_a_second']:9,} "
                    f"{result['peak_anonymous_mb']:8,} {result['peak_total_mb']:6,}",
                    flush=True,
                )
                asked.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
