"""A million short notes scored from Parquet and from a database: pace, memory, the encoder's share.

    python benchmarks/scoring.py BUNDLE --out scoring.json

Each source runs in a process of its own. The model's share is the time from texts to probabilities;
the rest is reading, checking, committing and writing. The encoder's, of a bundle that has one, is
that of its layers; what the model does beside is tokens, adapter and head. Opening the bundle is
in neither.
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
    """Runs of so many words of built-in notes, each with its number so that all differ."""
    from clinadapt.data.synthetic.generator import generate

    words = [text.split() for text in generate(**SEED_NOTES)["text"]]
    chance = random.Random(0)
    for row in range(n):
        chosen = words[chance.randrange(len(words))]
        begin = chance.randrange(max(1, len(chosen) - length))
        yield f"{' '.join(chosen[begin : begin + length])} {row}"


def write_notes(folder, n, length):
    """The same notes as Parquet and as OMOP's table in SQLite."""
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
    """Anonymous resident memory of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) // 1024


def timed(module, name):
    """Seconds of every call of a function from now on."""
    right, seconds = getattr(module, name), []

    def call(*arguments):
        clock = time.perf_counter()
        try:
            return right(*arguments)
        finally:
            seconds.append(time.perf_counter() - clock)

    setattr(module, name, call)
    return seconds


def measure(source, bundle, folder):
    """Score one source in this process."""
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
    parser.add_argument("--words", type=int, default=20, help="of a note")
    parser.add_argument("--source", nargs="+", default=SOURCES, choices=SOURCES)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # source, folder
    asked = parser.parse_args()
    if asked.one:
        source, folder = asked.one
        found = measure(source, asked.bundle, Path(folder))
        asked.out.write_text(json.dumps(found), encoding="utf-8")
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
                found = json.loads(one.read_text(encoding="utf-8"))
                results.append(found)
                print(
                    f"{source:8} {n:9,} {found['seconds']:8.1f} {found['notes_a_second']:9,} "
                    f"{found['peak_anonymous_mb']:8,} {found['model_share']:6.1%} "
                    f"{found['encoder_share']:8.1%}",
                    flush=True,
                )
                asked.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
