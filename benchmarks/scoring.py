"""Scores a million short notes from Parquet and from a database: speed, memory, encoder time.

    python benchmarks/scoring.py BUNDLE --out scoring.json

Each source runs in a separate process. The share of the model is the time from texts to
probabilities; the rest is reading, checking, committing and writing. The share of the encoder, if
there is one, is that of its layers; the model also includes tokenizer, adapter and head. Opening
the bundle is in neither.
"""

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SOURCES = ("parquet", "sqlite")
ROWS_AT_ONCE = 10_000
SEED_NOTES = {"n_notes": 2000, "n_patients": 500, "n_positive": 800}


def texts(n, length):
    """Yield `n` excerpts of built-in notes of `length` words, made unique by a number."""
    from clinadapt.data.synthetic.generator import generate

    words = [text.split() for text in generate(**SEED_NOTES)["text"]]
    chance = random.Random(0)
    for row in range(n):
        chosen = words[chance.randrange(len(words))]
        begin = chance.randrange(max(1, len(chosen) - length))
        yield f"{' '.join(chosen[begin : begin + length])} {row}"


def write_notes(folder, n, length):
    """Write the same notes as Parquet and as an OMOP table in SQLite."""
    import polars as pl
    import pyarrow.parquet as pq

    writer, source = None, texts(n, length)
    with sqlite3.connect(folder / "notes.db") as database:
        database.execute("CREATE TABLE note (note_id INTEGER PRIMARY KEY, note_text TEXT)")
        for start in range(0, n, ROWS_AT_ONCE):
            ids = range(start, min(start + ROWS_AT_ONCE, n))
            frame = pl.DataFrame({"id": ids, "text": [next(source) for _ in ids]})
            database.executemany("INSERT INTO note VALUES (?, ?)", frame.rows())
            table = frame.to_arrow()
            writer = writer or pq.ParquetWriter(folder / "notes.parquet", table.schema)
            writer.write_table(table)
    database.close()
    writer.close()


def anonymous_mb():
    """Return the anonymous resident memory of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) // 1024


def timed(module, name):
    """Replace a function by one that times its calls; return the list of seconds."""
    original, seconds = getattr(module, name), []

    def call(*arguments):
        clock = time.perf_counter()
        try:
            return original(*arguments)
        finally:
            seconds.append(time.perf_counter() - clock)

    setattr(module, name, call)
    return seconds


def measure(source, bundle, folder):
    """Score one source in this process; return the measurements."""
    from clinadapt.deployment.scoring import loop
    from clinadapt.deployment.scoring.job import Prediction
    from clinadapt.features import feature_cache

    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous_mb())

    in_model = timed(loop, "_scored")
    in_encoder = timed(feature_cache, "encode")
    if source == "parquet":
        notes = [str(folder / "notes.parquet")]
        asked = Prediction(bundle, notes, folder / "scores.parquet", id="id")
    else:
        url, aside = f"sqlite:///{folder / 'notes.db'}", folder / "aside.csv"
        asked = Prediction(bundle, database=url, into="scores", aside=aside)
    watcher = threading.Thread(target=watch)
    watcher.start()
    clock = time.perf_counter()
    try:
        state = asked.run()
    finally:
        done.set()
        watcher.join()
    seconds = time.perf_counter() - clock
    assert state.read == state.scored + state.aside
    return {
        "source": source,
        "notes": state.read,
        "scored": state.scored,
        "seconds": round(seconds, 2),
        "notes_a_second": round(state.read / seconds),
        "peak_anonymous_mb": peak[0],
        "model_share": round(sum(in_model) / seconds, 3),
        "encoder_share": round(sum(in_encoder) / seconds, 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--notes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--words", type=int, default=20, help="words per note")
    parser.add_argument("--source", nargs="+", default=SOURCES, choices=SOURCES)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # source, folder
    asked = parser.parse_args()
    if asked.one:
        source, folder = asked.one
        result = measure(source, asked.bundle, Path(folder))
        asked.out.write_text(json.dumps(result), encoding="utf-8")
        return
    results = []
    print("source       notes  seconds   notes/s  anon MB  model  encoder")
    with tempfile.TemporaryDirectory(prefix="clinadapt-scoring-") as root:
        for n in asked.notes:
            folder = Path(root) / str(n)
            folder.mkdir()
            write_notes(folder, n, asked.words)
            for source in asked.source:
                one = folder / f"{source}.json"
                command = [sys.executable, __file__, str(asked.bundle), "--out", str(one)]
                subprocess.run([*command, "--one", source, str(folder)], check=True)
                result = json.loads(one.read_text(encoding="utf-8"))
                results.append(result)
                print(
                    f"{source:8} {n:9,} {result['seconds']:8.1f} {result['notes_a_second']:9,} "
                    f"{result['peak_anonymous_mb']:8,} {result['model_share']:6.1%} "
                    f"{result['encoder_share']:8.1%}",
                    flush=True,
                )
                asked.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
