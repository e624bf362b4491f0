"""A server under parallel clients against predict; twenty tasks on one encoder against one.

    python benchmarks/serving.py --seconds 60 --clients 32 --out serving.json

Notes are the built-in synthetic ones, and every answer is compared with what the same bundle says
by itself. The server is a process of its own, and so are its clients.
"""

import argparse
import http.client
import json
import multiprocessing
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

NOTES = {"n_notes": 2000, "n_patients": 600, "n_positive": 800}
FITTED = 200
TOLERANCE = {"fp32": 1e-3, "bf16": 0.05}  # largest difference of a probability that is right
PREDICT_FIRST = 64  # notes that load and warm


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="clinadapt-mini-fr")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--repeats", type=int, default=3, help="of one task against many")
    parser.add_argument("--batch-notes", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    asked = parser.parse_args()

    from clinadapt.machine import environment
    from clinadapt.synthetic import generate

    texts = generate(**NOTES)["text"].to_list()
    found = {"environment": environment(), "asked": vars(asked) | {"out": asked.out.name}}
    with tempfile.TemporaryDirectory(prefix="clinadapt-serving-") as root:
        bundles = fit(asked, texts, Path(root))
        found["tasks"] = one_against_many(bundles, texts, asked.repeats)
        show("tasks", found["tasks"])
        found["server"] = under_load(asked, bundles["task-0"], texts)
        show("server", found["server"])
    asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def show(part, values):
    print(
        part, json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()})
    )


def fit(asked, texts, root):
    """Bundles of tasks on one encoder, each of labels of its own; they need not be good."""
    from clinadapt import NoteClassifier, PretrainedModel

    shared = {"encoder": asked.encoder, "max_tokens": asked.max_tokens, "epochs": 1}
    bundles = {}
    for number in range(asked.tasks):
        chance = random.Random(number)
        labels = [chance.random() < 0.5 for _ in range(FITTED)]
        model = PretrainedModel(**shared, seed=number)
        classifier = NoteClassifier(model, cache=root / "cache").fit(texts[:FITTED], labels)
        bundles[f"task-{number}"] = classifier.save(root / f"task-{number}")
    return bundles


def one_against_many(bundles, texts, repeats):
    """Seconds of one task and of all, in turn; medians."""
    from clinadapt.together import Together

    together = Together.load(bundles)
    seconds = {"one": [], "all": []}
    chosen = {"one": ["task-0"], "all": list(bundles)}
    together.predict_proba(texts[:PREDICT_FIRST])
    for _ in range(repeats):
        for name, tasks in chosen.items():
            started = time.perf_counter()
            together.predict_proba(texts, tasks)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "tasks": len(bundles),
        "notes": len(texts),
        "seconds_one": medians["one"],
        "seconds_all": medians["all"],
        "ratio": medians["all"] / medians["one"],
    }


def under_load(asked, bundle, texts):
    """What clients get of a server, against what the bundle says and does by itself."""
    from clinadapt import load
    from clinadapt.machine import has_fast_bf16

    classifier = load(bundle)
    classifier.predict_proba(texts[:PREDICT_FIRST])
    started = time.perf_counter()
    expected = classifier.predict_proba(texts)[:, 1].tolist()
    alone = len(texts) / (time.perf_counter() - started)

    command = "from clinadapt.cli import main; main()"
    options = ["--port", "0", "--per-minute", "0", "--batch-notes", str(asked.batch_notes)]
    process = subprocess.Popen(
        [sys.executable, "-c", command, "serve", str(bundle), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    port = int(re.search(r":(\d+)", process.stdout.readline())[1])
    answers = multiprocessing.Queue()
    clients = multiprocessing.Process(
        target=ask_all, args=(port, texts, asked.clients, asked.seconds, answers)
    )
    clients.start()
    given, lost, spent = answers.get()
    clients.join()
    process.terminate()
    last = process.communicate(timeout=60)[0]
    answered = int(re.search(r"Stopped: (\d+)", last)[1])

    tolerance = TOLERANCE["bf16" if has_fast_bf16("cpu") else "fp32"]
    distances = [abs(value - expected[number]) for number, value, _ in given]
    latencies = sorted(latency for _, _, latency in given)
    cuts = statistics.quantiles(latencies, n=100)
    throughput = len(given) / spent
    return {
        "clients": asked.clients,
        "seconds": spent,
        "answers": len(given),
        "answered_by_its_own_count": answered,
        "lost": lost,
        "wrong": sum(distance > tolerance for distance in distances),
        "tolerance": tolerance,
        "largest_difference": max(distances),
        "notes_a_second": throughput,
        "predict_notes_a_second": alone,
        "share_of_predict": throughput / alone,
        "p50_ms": 1000 * cuts[49],
        "p99_ms": 1000 * cuts[98],
    }


def ask_all(port, texts, clients, seconds, answers):
    """Ask in as many threads as there are clients, one note a request, without a pause."""
    given, lost, lock = [], [0], threading.Lock()
    until = time.perf_counter() + seconds
    edges = [len(texts) * number // clients for number in range(clients + 1)]

    def ask(start, end):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        headers = {"Content-Type": "application/json"}
        mine, number = [], start
        while time.perf_counter() < until:
            body = json.dumps({"notes": [texts[number]]})
            started = time.perf_counter()
            try:
                connection.request("POST", "/predict", body, headers)
                answer = connection.getresponse()
                content = json.loads(answer.read())
                (one,) = content["notes"][0]["answers"]
            except (OSError, http.client.HTTPException, KeyError, ValueError):
                with lock:
                    lost[0] += 1
                connection.close()
            else:
                value = list(one["probabilities"].values())[1]
                mine.append((number, value, time.perf_counter() - started))
            number = number + 1 if number + 1 < end else start
        connection.close()
        with lock:
            given.extend(mine)

    started = time.perf_counter()
    threads = [threading.Thread(target=ask, args=edge) for edge in pairwise(edges)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put((given, lost[0], time.perf_counter() - started))


if __name__ == "__main__":
    main()
