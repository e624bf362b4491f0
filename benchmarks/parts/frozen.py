"""A frozen encoder under four adapters and three seeds: twelve runs."""

from typing import Any

from benchmarks.contest import Entry, Plan, row_epoch_seconds, row_seconds, unit_seconds
from benchmarks.parts.pretrained import FAST, our_run, ours, trainer_run
from clinadapt.neural.adapters.registry import match_inner

TITLE = "Frozen encoder, four adapters, three seeds"
INTRODUCTION = (
    "Twelve runs of 20 epochs: bottleneck, lightweight, tiny attention and gated residual network "
    "at about 100,000 weights each, on the token features of a frozen encoder, mean pooling, "
    "linear head, learning rate 1e-3, batch 16 (Trainer's default: 8). The peer trains adapters "
    "with the same formulas and sizes in plain PyTorch. Lean: encoder weights in bf16 and without "
    "dropout, which `Trainer` does not do by default."
)
NOTES: int | None = 300
UNIT = "tokens"
EPOCHS = 20
SEEDS = (0, 1, 2)
WEIGHTS = 100_000
ADAPTERS = ("bottleneck", "lightweight", "tiny_attention", "gated_residual")
FULL = "gated residual network at full width"
# Multiply-adds of a token through a network of four d × d matrices: forward, gradients of the
# four weights, gradients of the inputs of all but the first, whose input is frozen.
FULL_WIDTH_PRODUCTS = 4 + 4 + 3


def entries(plan: Plan) -> list[Entry]:
    """Return the rows of the part."""
    width = plan.workload.width
    inner = {name: match_inner(name, width, WEIGHTS) for name in ADAPTERS}
    # All our epochs are run: on cached features they take a few seconds.
    twelve = [
        our_run(
            plan,
            EPOCHS,
            whole=True,
            adapter=name,
            adapter_options={"inner": inner[name]},
            seed=seed,
        )
        for name in ADAPTERS
        for seed in SEEDS
    ]
    encode = {"model": "PretrainedModel", "only_encode": True, "settings": {}}
    full = our_run(plan, 2, whole=True, adapter="gated_residual")

    def peer(name: str, seed: int, **options: Any) -> dict[str, Any]:
        chosen = {"adapter": name, "inner": inner[name], "learning_rate": 1e-3, "seed": seed}
        return trainer_run(plan, "frozen", EPOCHS, **chosen | options)

    seeds = SEEDS if plan.complete else SEEDS[:1]
    slow_names = ADAPTERS if plan.complete else ADAPTERS[:1]
    slow = [peer(name, seed) for name in slow_names for seed in seeds]
    fast = [peer(name, seed, **FAST) for name in ADAPTERS for seed in seeds]
    lean = [run | {"lean": True} for run in fast]

    def trainer(settings: str, runs: list[dict[str, Any]]) -> Entry:
        stands = len(twelve) // len(runs)
        return Entry("HF Trainer", settings, "hf_trainer", "peers", runs, stands_for=stands)

    return [
        ours("features computed once, then 12 runs", [encode, *twelve]),
        trainer("defaults: fp32, batch 8", slow),
        trainer("bf16, lengths grouped, batch 16", fast),
        trainer("bf16, lengths grouped, batch 16, lean", lean),
        ours(FULL + ", 2 epochs", [encode, full], group="full"),
    ]


def remarks(record: dict[str, Any]) -> list[str]:
    """Return the time relative to one encoder pass, and the speed of each adapter."""
    rows = [row for row in record["rows"] if row["method"] == "clinadapt" and "runs" in row]
    work, rate = record["workload"], record["machine"]["bf16_flops"]
    lines = []
    for row in rows:
        encode, *fits = row["runs"]
        if "failed" in encode or any("failed" in fit for fit in fits):
            continue
        if row["group"] == "full":
            lines.append(_full_width(row, work, rate))
            continue
        alone = encode["encode_seconds"]
        share = work["encode_flops"] / alone / rate
        tokens = sum(work["tokens"].values())
        lines.append(
            f"One pass of the encoder over all {sum(work['notes'].values()):,} notes took "
            f"{alone:.1f} s ({tokens / alone:,.0f} tokens/s, {share:.0%} of the bf16 matrix "
            f"rate); our twelve runs, including this pass and set-up, took "
            f"{row_seconds(row) / alone:.2f} times that."
        )
        for start in range(0, len(fits), len(SEEDS)):
            same = fits[start : start + len(SEEDS)]
            options = same[0]["options"]["settings"]
            seconds = [unit_seconds(fit) or 0.0 for fit in same]
            pace = sum(seconds) / len(seconds)
            lines.append(
                f"{options['adapter']}, inner width {options['adapter_options']['inner']}, "
                f"{same[0]['trainable']:,} trained weights: {pace:.2f} s per epoch, "
                f"{work['epoch_tokens'] / pace:,.0f} tokens/s."
            )
    return lines


def _full_width(row: dict[str, Any], work: dict[str, Any], rate: float) -> str:
    pace = row_epoch_seconds(row) or float("nan")
    products = FULL_WIDTH_PRODUCTS * work["tokens"]["train"] + 4 * work["tokens"]["validation"]
    floor = 2.0 * work["width"] ** 2 * products / rate
    return (
        f"The {FULL} takes {pace:.2f} s per epoch; its matrix products alone, at the "
        f"bf16 rate measured here, would take {floor:.2f} s ({floor / pace:.0%} of it)."
    )
