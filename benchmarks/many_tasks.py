"""Compares twenty tasks on one frozen encoder with one task, and with twenty pipelines.

    python benchmarks/many_tasks.py --tasks 20 --notes 1000 --out many_tasks.json

The peer is the usual solution without clinadapt: one `transformers` pipeline per task, each with
its own encoder, at the same length and precision, in batches of 32. Its heads are random, which
does not affect the time. All alternate on the built-in synthetic notes, the pipelines on fewer of
them; speeds are computed from medians, and all times are recorded.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

NOTES = {"n_patients": 600, "n_positive": 800}
FITTED = 200
WARMING = 64  # notes for warming up
BATCH = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="clinadapt-mini-fr")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--notes", type=int, default=1000)
    parser.add_argument("--peer-notes", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--backend", choices=["torch", "openvino"], default="torch")
    asked = parser.parse_args()
    os.environ["CLINADAPT_BACKEND"] = asked.backend  # the same for everything that is compared

    from clinadapt.core.device import environment
    from clinadapt.data.synthetic.generator import generate
    from clinadapt.models.shared_encoder import Together

    texts = generate(n_notes=max(asked.notes, 2000), **NOTES)["text"].to_list()
    with tempfile.TemporaryDirectory(prefix="clinadapt-tasks-") as root:
        bundles = fit(asked.encoder, asked.max_tokens, asked.tasks, texts, Path(root))
        texts, fewer = texts[: asked.notes], texts[: asked.peer_notes]
        before = resident_bytes()
        together = Together.load(bundles)
        together.predict_proba(texts[:WARMING])
        ours = resident_bytes() - before
        pipelines = [pipeline(asked, number) for number in range(asked.tasks)]
        for one in pipelines:
            read(one, texts[:1], asked.max_tokens)
        theirs = resident_bytes() - before - ours
        ways = {
            "one_task": lambda: together.predict_proba(texts, ["task-0"]),
            "all_tasks": lambda: together.predict_proba(texts),
            "one_pipeline": lambda: read(pipelines[0], fewer, asked.max_tokens),
            "all_pipelines": lambda: [read(one, fewer, asked.max_tokens) for one in pipelines],
        }
        seconds = in_turn(ways, asked.repeats)
    read_by = {way: fewer if "pipeline" in way else texts for way in ways}
    pace = {way: len(read_by[way]) / statistics.median(taken) for way, taken in seconds.items()}
    results = {
        "environment": environment(),
        "asked": vars(asked) | {"out": asked.out.name},
        "seconds": seconds,
        "notes_a_second": pace,
        "all_tasks_to_one": pace["one_task"] / pace["all_tasks"],  # ratio of seconds per note
        "all_pipelines_to_all_tasks": pace["all_tasks"] / pace["all_pipelines"],
        "one_pipeline_to_one_task": pace["one_task"] / pace["one_pipeline"],
        "memory_bytes": {"all_tasks": ours, "all_pipelines": theirs},
    }
    asked.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(json.dumps({name: value for name, value in results.items() if name != "environment"}))


def fit(encoder, max_tokens, tasks, texts, root):
    """Return bundles on one encoder, each with its own random labels; only their speed matters."""
    from clinadapt import NoteClassifier, PretrainedModel

    bundles = {}
    for number in range(tasks):
        chance = random.Random(number)
        labels = [chance.random() < 0.5 for _ in range(FITTED)]
        model = PretrainedModel(encoder, max_tokens=max_tokens, epochs=1, seed=number)
        classifier = NoteClassifier(model, cache=root / "cache").fit(texts[:FITTED], labels)
        bundles[f"task-{number}"] = classifier.save(root / f"task-{number}")
    return bundles


def pipeline(asked, seed):
    """Return a pipeline with its own head, in the precision that clinadapt uses on this machine."""
    import torch
    import transformers

    from clinadapt.core.device import compute_dtype, pick_device
    from clinadapt.features.encoders.catalog import resolve

    transformers.logging.set_verbosity_error()  # it warns that the head is random
    transformers.logging.disable_progress_bar()
    folder, device = resolve(asked.encoder), pick_device("auto")
    torch.manual_seed(seed)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2, dtype=compute_dtype("auto", device)
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return transformers.pipeline(
        "text-classification", model=model, tokenizer=tokenizer, device=device
    )


def read(pipeline, texts, max_tokens):
    """Return the predictions of a pipeline."""
    return pipeline(texts, batch_size=BATCH, truncation=True, max_length=max_tokens)


def in_turn(ways, repeats):
    """Return the times of each way in seconds; every round runs all of them."""
    seconds = {way: [] for way in ways}
    for _ in range(repeats):
        for way, act in ways.items():
            started = time.perf_counter()
            act()
            seconds[way].append(time.perf_counter() - started)
    return seconds


def resident_bytes():
    import psutil

    return psutil.Process().memory_info().rss


if __name__ == "__main__":
    main()
