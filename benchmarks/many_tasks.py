"""Twenty tasks on one frozen encoder: against one task, and against twenty pipelines.

    python benchmarks/many_tasks.py --tasks 20 --notes 1000 --out many_tasks.json

The peer is what one would write without clinadapt: a `transformers` pipeline for each task, each
with an encoder of its own, at the same length, in the same precision, in batches of 32. Its heads
are random: what they say takes as long as what trained ones say. All run in turn on the built-in
synthetic notes, the pipelines on fewer of them; paces are of medians, with all times kept.
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
WARMING = 64  # notes that load what is loaded once
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
    os.environ["CLINADAPT_BACKEND"] = asked.backend  # one for all that is compared

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
    found = {
        "environment": environment(),
        "asked": vars(asked) | {"out": asked.out.name},
        "seconds": seconds,
        "notes_a_second": pace,
        "all_tasks_to_one": pace["one_task"] / pace["all_tasks"],  # of the seconds of a note
        "all_pipelines_to_all_tasks": pace["all_tasks"] / pace["all_pipelines"],
        "one_pipeline_to_one_task": pace["one_task"] / pace["one_pipeline"],
        "memory_bytes": {"all_tasks": ours, "all_pipelines": theirs},
    }
    asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(json.dumps({name: value for name, value in found.items() if name != "environment"}))


def fit(encoder, max_tokens, tasks, texts, root):
    """Bundles on one encoder, each of labels of its own; they need not be good."""
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
    """A pipeline with a head of its own, in the precision that clinadapt takes here."""
    import torch
    import transformers

    from clinadapt.core.device import compute_dtype, pick_device
    from clinadapt.features.encoders.catalog import resolve

    transformers.logging.set_verbosity_error()  # the head is random, and said to be
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
    """What a pipeline says of notes."""
    return pipeline(texts, batch_size=BATCH, truncation=True, max_length=max_tokens)


def in_turn(ways, repeats):
    """Seconds of each way, all of them in each round."""
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
