"""AdapterHub's bottleneck adapter, in every layer and in the last one."""

from typing import Any

from benchmarks.contest import Entry, Plan
from benchmarks.parts.pretrained import FAST, our_run, ours, trainer_run

TITLE = "AdapterHub"
INTRODUCTION = (
    "Bottleneck adapters that reduce the width sixteenfold, 6 epochs, learning rate 1e-4 and batch "
    "32, as in AdapterHub's introduction. In all layers every epoch must run them all; in the last "
    "layer alone, AdapterHub runs the frozen ones again in every epoch and clinadapt does not. "
    "Eager: attention written out in place of the fused kernel."
)
NOTES: int | None = 300
UNIT = "tokens"
EPOCHS = 6
BATCH = 32
REDUCTION = 16


def entries(plan: Plan) -> list[Entry]:
    """Return the rows of the part."""
    layers = plan.workload.layers

    def our(adapted: int) -> dict[str, Any]:
        return our_run(
            plan,
            EPOCHS,
            adapter="bottleneck",
            adapter_options={"inner": plan.workload.width // REDUCTION},
            placement="layers",
            adapted_layers=adapted,
            batch_size=BATCH,
            learning_rate=1e-4,
        )

    def hub(settings: str, group: str, adapted: int, **options: Any) -> Entry:
        chosen = {"learning_rate": 1e-4} | options | {"batch_size": BATCH, "eval_batch_size": BATCH}
        run = trainer_run(plan, "adapter", EPOCHS, **chosen) | {"adapted_layers": adapted}
        return Entry("AdapterHub", settings, "adapterhub", "adapters", [run], group=group)

    fast = {name: FAST[name] for name in ("bf16", "grouped")}
    return [
        ours("in the last layer", [our(1)], group="last"),
        hub("in the last layer, fp32", "last", 1),
        hub("in the last layer, bf16, lengths grouped", "last", 1, **fast),
        ours("in every layer", [our(layers)], group="all"),
        hub("in every layer, fp32", "all", layers),
        hub("in every layer, bf16, lengths grouped", "all", layers, **fast),
        hub("in every layer, bf16, lengths grouped, eager", "all", layers, eager=True, **fast),
    ]


def remarks(record: dict[str, Any]) -> list[str]:
    """Return no remarks."""
    return []
