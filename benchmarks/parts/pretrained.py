"""Common options of the parts with a pretrained encoder."""

from typing import Any

from benchmarks.contest import OURS, Entry, Plan

NO_EARLY_STOP = 10**6
TRAINER_DEFAULT_BATCH = 8
BATCH = 16


def ours(settings: str, runs: list[dict[str, Any]], group: str = "") -> Entry:
    """Return a row of clinadapt."""
    return Entry(OURS, settings, "ours", "clinadapt", runs, group=group)


def our_run(plan: Plan, epochs: int, whole: bool = False, **settings: Any) -> dict[str, Any]:
    """Return a run of clinadapt without early stopping and class weights, as for the peers.

    If peers run only a few epochs, so does clinadapt, unless `whole` is True.
    """
    done = epochs if whole else plan.timed(epochs)
    fixed = {"patience": NO_EARLY_STOP, "class_weight": "none", "batch_size": BATCH}
    return {
        "model": "PretrainedModel",
        "epochs": epochs,
        "settings": fixed | {"epochs": done} | settings,
    }


def trainer_run(plan: Plan, mode: str, epochs: int, **options: Any) -> dict[str, Any]:
    """Return a run of the Hugging Face `Trainer`: its defaults, changed by the options."""
    defaults = {
        "bf16": False,
        "grouped": False,
        "eager": False,
        "lean": False,
        "batch_size": TRAINER_DEFAULT_BATCH,
        "eval_batch_size": TRAINER_DEFAULT_BATCH,
        "learning_rate": 5e-5,
        "seed": 0,
    }
    return {"mode": mode, "epochs": epochs, "timed": plan.timed(epochs)} | defaults | options


FAST = {"bf16": True, "grouped": True, "batch_size": BATCH, "eval_batch_size": 32}
