"""Sentence embeddings under a linear classifier, and SetFit."""

from typing import Any

from benchmarks.contest import Entry, Plan
from benchmarks.parts.pretrained import our_run, ours

TITLE = "Sentence embeddings and SetFit"
INTRODUCTION = (
    "A frozen encoder, its mean feature vector and a linear classifier: clinadapt (20 epochs of a "
    "linear head) and sentence-transformers with scikit-learn's logistic regression. SetFit tunes "
    "the encoder on pairs first: on all training notes (20 iterations, batch 16, one epoch), and "
    "on 8 notes per class as in its quick start, without all others."
)
NOTES: int | None = 200
UNIT = "tokens"
EPOCHS = 20
SETFIT_STEPS = 4


def entries(plan: Plan) -> list[Entry]:
    """Return the rows of the part."""

    def embeddings(settings: str, bf16: bool, batch_size: int) -> Entry:
        runs = [{"bf16": bf16, "batch_size": batch_size}]
        name = "sentence-transformers + scikit-learn"
        return Entry(name, settings, "embeddings", "peers", runs)

    steps = None if plan.complete else SETFIT_STEPS
    everything = {"notes_per_class": None, "num_iterations": 20, "timed": steps}
    few = {"notes_per_class": 8, "num_iterations": None, "timed": steps}
    return [
        ours("linear head on frozen features", [our_run(plan, EPOCHS, whole=True)]),
        embeddings("defaults: fp32, batch 32", bf16=False, batch_size=32),
        embeddings("bf16, batch 32", bf16=True, batch_size=32),
        Entry("SetFit", "all training notes", "setfit_pairs", "peers", [everything]),
        Entry("SetFit", "8 notes a class", "setfit_pairs", "peers", [few]),
    ]


def remarks(record: dict[str, Any]) -> list[str]:
    """Return the number of steps that SetFit ran."""
    return [
        f"SetFit, {row['settings']}: {len(done['marks'])} of {done['planned']} steps were run."
        for row in record["rows"]
        for done in row.get("runs", [])
        if row["method"] == "SetFit" and "marks" in done
    ]
