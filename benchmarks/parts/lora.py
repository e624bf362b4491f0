"""LoRA in the top four layers."""

from typing import Any

from benchmarks.contest import Entry, Plan
from benchmarks.parts.pretrained import FAST, our_run, ours, trainer_run

TITLE = "LoRA in the top four layers"
INTRODUCTION = (
    "Rank 8, alpha 16, dropout 0.05, on queries and values of the top four layers (or all, if the "
    "encoder has fewer), linear head, 5 epochs, learning rate 1e-3, batch 16 (defaults: 8)."
)
NOTES: int | None = 300
UNIT = "tokens"
EPOCHS = 5
LAYERS = 4


def entries(plan: Plan) -> list[Entry]:
    """Return the rows of the part."""
    layers = min(LAYERS, plan.workload.layers)
    run = our_run(
        plan,
        EPOCHS,
        adapter="lora",
        adapter_options={"targets": "attention"},
        placement="layers",
        adapted_layers=layers,
    )

    def peft(settings: str, **options: Any) -> Entry:
        chosen = {"adapted_layers": layers, "learning_rate": 1e-3} | options
        run = trainer_run(plan, "lora", EPOCHS, **chosen)
        return Entry("HF Trainer + PEFT", settings, "hf_trainer", "peers", [run])

    return [
        ours("features below the adapted layers computed once", [run]),
        peft("defaults: fp32, batch 8"),
        peft("bf16, lengths grouped, batch 16", **FAST),
        peft("bf16, lengths grouped, batch 16, eager", eager=True, **FAST),
    ]


def remarks(record: dict[str, Any]) -> list[str]:
    """Return no remarks."""
    return []
