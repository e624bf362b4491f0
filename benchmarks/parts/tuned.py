"""The whole encoder tuned, under a linear head."""

from typing import Any

from benchmarks.contest import Entry, Plan
from benchmarks.parts.pretrained import FAST, our_run, ours, trainer_run

TITLE = "Full fine-tuning"
INTRODUCTION = (
    "All layers and the embeddings, a linear head, 3 epochs (Trainer's default), learning rate "
    "5e-5, batch 16 (Trainer's defaults: 8). Eager: attention written out in place of the fused "
    "kernel, whose backward pass is slow on some CPUs."
)
NOTES: int | None = 200
UNIT = "tokens"
EPOCHS = 3


def entries(plan: Plan) -> list[Entry]:
    """Return the rows of the part."""

    def trainer(settings: str, **options: Any) -> Entry:
        run = trainer_run(plan, "full", EPOCHS, **options)
        return Entry("HF Trainer", settings, "hf_trainer", "peers", [run])

    return [
        ours("all layers tuned", [our_run(plan, EPOCHS, tuned_layers="all")]),
        trainer("defaults: fp32, batch 8"),
        trainer("bf16, lengths grouped, batch 16", **FAST),
        trainer("bf16, lengths grouped, batch 16, eager", eager=True, **FAST),
    ]


def remarks(record: dict[str, Any]) -> list[str]:
    """Return no remarks."""
    return []
