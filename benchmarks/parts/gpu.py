"""On a CUDA device: the encoder pass, full fine-tuning, and training within 2 GB of memory."""

from typing import Any

from benchmarks.contest import Entry, Plan
from benchmarks.parts.pretrained import FAST, our_run, ours, trainer_run

TITLE = "GPU"
INTRODUCTION = (
    "The encoder pass alone; full tuning, 3 epochs, compared with Trainer with bf16 and padding "
    "by length; and a frozen bottleneck, LoRA in the top four layers and full tuning while the "
    "process may take no more than 2 GB of the device's memory, the card of arXiv 2407.19299."
)
NOTES: int | None = None
UNIT = "tokens"
EPOCHS = 3
CAP_BYTES = 2_000_000_000


def entries(plan: Plan) -> list[Entry]:
    """Return the rows of the part."""
    layers = min(4, plan.workload.layers)
    encode = {"model": "PretrainedModel", "only_encode": True, "settings": {}}
    tuned = our_run(plan, EPOCHS, tuned_layers="all")
    bottleneck = our_run(plan, EPOCHS, adapter="bottleneck")
    lora = our_run(
        plan,
        EPOCHS,
        adapter="lora",
        adapter_options={"targets": "attention"},
        placement="layers",
        adapted_layers=layers,
    )
    peer_tuned = trainer_run(plan, "full", EPOCHS, **FAST)
    peer_frozen = trainer_run(
        plan, "frozen", EPOCHS, adapter="bottleneck", inner=64, learning_rate=1e-3, **FAST
    )
    peer_lora = trainer_run(plan, "lora", EPOCHS, adapted_layers=layers, learning_rate=1e-3, **FAST)
    rows = [
        ours("encoding pass", [encode], group="encode"),
        ours("full tuning", [tuned], group="tuned"),
        _trainer("full tuning", peer_tuned, "tuned"),
    ]
    capped = (
        ("frozen, bottleneck", bottleneck, peer_frozen),
        ("LoRA, top four", lora, peer_lora),
        ("full tuning", tuned, peer_tuned),
    )
    for what, our, peer in capped:
        name, limit = f"{what}, at most 2 GB", {"gpu_memory_bytes": CAP_BYTES}
        rows.append(ours(name, [our | limit], group=what + " capped"))
        rows.append(_trainer(name, peer | limit, what + " capped"))
    return rows


def _trainer(what: str, run: dict[str, Any], group: str) -> Entry:
    settings = f"{what}; bf16, lengths grouped, batch 16"
    return Entry("HF Trainer", settings, "hf_trainer", "peers", [run], group=group)


def remarks(record: dict[str, Any]) -> list[str]:
    """Return the encoding speed relative to the matrix rate, and the peak memory of each row."""
    lines = []
    for row in record["rows"]:
        for done in row.get("runs", []):
            if "failed" in done:
                continue
            if row["group"] == "encode":
                share = record["workload"]["encode_flops"] / done["encode_seconds"]
                share /= record["machine"]["bf16_flops"]
                lines.append(f"Encoding ran at {share:.0%} of the bf16 matrix rate measured here.")
            peak = done.get("peak_gpu_memory_bytes", 0) / 1e6
            lines.append(f"{row['method']}, {row['settings']}: {peak:,.0f} MB of GPU memory.")
    return lines
