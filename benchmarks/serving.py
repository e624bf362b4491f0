"""Measures a server under parallel clients, compared with predict, and its shutdown under load.

    python benchmarks/serving.py --seconds 60 --clients 32 --out serving.json

Notes are the built-in synthetic ones. Server and clients are separate processes; each client sends
one note at a time without a pause. Every response is compared with the prediction of the bundle
without a server. After the given time the server gets SIGTERM while the clients continue: the
number of requests that it reports must equal the number of responses that they received.
"""

import argparse
import http.client
import json
import multiprocessing
import os
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

SYNTHETIC = {"n_notes": 2000, "n_patients": 600, "n_positive": 800}
FITTED = 200
TOLERANCE = {"fp32": 1e-3, "bf16": 0.05}  # largest accepted difference of a probability
WARMING = 64  # notes for warming up


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="clinadapt-mini-fr")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--batch-notes", type=int, default=32)
    parser.add_argument("--batch-milliseconds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--backend", choices=["torch", "openvino"], default="torch")
    asked = parser.parse_args()
    os.environ["CLINADAPT_BACKEND"] = asked.backend  # the same for everything that is compared

    from clinadapt.core.device import environment
    from clinadapt.data.synthetic.generator import generate

    texts = generate(**SYNTHETIC)["text"].to_list()
    with tempfile.TemporaryDirectory(prefix="clinadapt-serving-") as root:
        bundle = fit(asked.encoder, asked.max_tokens, texts, Path(root) / "bundle")
        expected, before = predict(bundle, texts)
        port, server = start(asked, bundle)
        records, stopped, reported = under_load(asked, port, server, texts)
        _, after = predict(bundle, texts)  # the speed of the machine may have changed
    results = {
        "environment": environment(),
        "asked": vars(asked) | {"out": asked.out.name},
        "predict_notes_a_second": [before, after],
        **judged(records, expected, asked.seconds, stopped, reported),
    }
    results["share_of_predict"] = results["notes_a_second"] / statistics.mean([before, after])
    asked.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(json.dumps({name: value for name, value in results.items() if name != "environment"}))


def fit(encoder, max_tokens, texts, folder):
    """Return a bundle with random labels; only its speed matters."""
    from clinadapt import NoteClassifier, PretrainedModel

    chance = random.Random(0)
    labels = [chance.random() < 0.5 for _ in range(FITTED)]
    model = PretrainedModel(encoder, max_tokens=max_tokens, epochs=1)
    return (
        NoteClassifier(model, cache=folder.parent / "cache")
        .fit(texts[:FITTED], labels)
        .save(folder)
    )


def predict(bundle, texts):
    """Return the probabilities of the positive class, and notes per second."""
    from clinadapt import load

    classifier = load(bundle)
    classifier.predict_proba(texts[:WARMING])
    started = time.perf_counter()
    expected = classifier.predict_proba(texts)[:, 1].tolist()
    return expected, len(texts) / (time.perf_counter() - started)


def start(asked, bundle):
    """Start a server; return its port and process."""
    command = "from clinadapt.cli.main import main; main()"
    options = {
        "--port": 0,
        "--per-minute": 0,
        "--batch-notes": asked.batch_notes,
        "--batch-milliseconds": asked.batch_milliseconds,
    }
    words = [str(word) for option in options.items() for word in option]
    server = subprocess.Popen(
        [sys.executable, "-c", command, "serve", str(bundle), *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    return int(re.search(r":(\d+)", server.stdout.readline())[1]), server


def under_load(asked, port, server, texts):
    """Return the records of clients, the time of SIGTERM, and the server's count of responses."""
    queue = multiprocessing.Queue()
    clients = multiprocessing.Process(target=ask_all, args=(port, texts, asked.clients, queue))
    clients.start()
    queue.get()  # all clients have their first response
    time.sleep(asked.seconds)
    stopped = time.monotonic()
    server.terminate()
    records = queue.get()
    clients.join()
    output = server.communicate(timeout=120)[0]
    return records, stopped, int(re.search(r"Stopped: (\d+)", output)[1])


def ask_all(port, texts, clients, queue):
    """Send requests from one thread per client until the server is gone.

    A record is the number of the note, the status (0: no response), the probability, start and end.
    """
    records, lock = [], threading.Lock()
    warm = threading.Barrier(clients + 1)
    edges = [len(texts) * number // clients for number in range(clients + 1)]

    def ask(first, end):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        headers = {"Content-Type": "application/json"}
        mine, number = [], first
        while True:
            body = json.dumps({"notes": [texts[number]]})
            status, value, began = 0, None, time.monotonic()
            try:
                connection.request("POST", "/predict", body, headers)
                answer = connection.getresponse()
                status, content = answer.status, json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                connection.close()
            if status == 200:
                value = list(content["notes"][0]["answers"][0]["probabilities"].values())[1]
            mine.append((number, status, value, began, time.monotonic()))
            if len(mine) == 1:
                warm.wait()
            if status in (0, 503):
                break
            number = number + 1 if number + 1 < end else first
        connection.close()
        with lock:
            records.extend(mine)

    threads = [threading.Thread(target=ask, args=edge) for edge in pairwise(edges)]
    for thread in threads:
        thread.start()
    warm.wait()
    queue.put("ready")
    for thread in threads:
        thread.join()
    queue.put(records)


def judged(records, expected, seconds, stopped, reported):
    """Return throughput and latency before the stop, and numbers of wrong and lost responses."""
    from clinadapt.core.device import has_fast_bf16

    tolerance = TOLERANCE["bf16" if has_fast_bf16("cpu") else "fp32"]
    given = [record for record in records if record[1] == 200]
    measured = [record for record in given if stopped - seconds <= record[4] <= stopped]
    cuts = statistics.quantiles([end - began for *_, began, end in measured], n=100)
    distances = [abs(value - expected[number]) for number, _, value, _, _ in given]
    received = sum(status != 0 for _, status, *_ in records)
    return {
        "answers": len(measured),
        "notes_a_second": len(measured) / seconds,
        "p50_ms": 1000 * cuts[49],
        "p99_ms": 1000 * cuts[98],
        "tolerance": tolerance,
        "largest_difference": max(distances),
        "wrong": sum(distance > tolerance for distance in distances),
        "lost_before_the_stop": sum(
            status != 200 and end < stopped for _, status, _, _, end in records
        ),
        "answered_in_all": reported,
        "received_in_all": received,
        "lost_at_the_stop": reported - received,
    }


if __name__ == "__main__":
    main()
