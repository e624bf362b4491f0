"""The two models trained from scratch, compared with the Keras examples of the same names."""

from typing import Any

from benchmarks.contest import OURS, Entry, Plan
from benchmarks.parts.pretrained import NO_EARLY_STOP

TITLE = "Transformer and Mixture of Experts from scratch"
INTRODUCTION = (
    "Sizes as published: width 32, 2 heads, feed-forward 32, 10 experts, 20,000 words, the first "
    "200 of a note; batch 32 (Transformer) and 50 (Switch). 5 epochs each, at clinadapt's learning "
    "rate of 5e-3, falling to zero, and at the examples' 1e-3. The vocabulary of clinadapt is "
    "20,000 sub-words learned on the training notes. Speed is in words for both."
)
NOTES: int | None = 1_000
UNIT = "words"
EPOCHS = 5
BACKENDS = ("tensorflow", "jax", "torch")
BATCH = {"transformer": 32, "moe": 50}
DROPOUT = {"transformer": 0.1, "moe": 0.25}
# Higher than the default, which is for more epochs: here the rate falls to zero within five.
LEARNING_RATE = 5e-3
INNER = {"transformer": 20, "moe": 32}
EXAMPLE = {"transformer": "Transformer", "moe": "Switch Transformer"}


def entries(plan: Plan) -> list[Entry]:
    """Rows of the part: no epoch is extrapolated here."""
    rows = []
    for name in ("transformer", "moe"):
        settings = {
            "encoder": name,
            "vocabulary": 20_000,
            "max_tokens": 200,
            "inner": INNER[name],
            "dropout": DROPOUT[name],
            "batch_size": BATCH[name],
            "epochs": EPOCHS,
            "learning_rate": LEARNING_RATE,
            "patience": NO_EARLY_STOP,
            "class_weight": "none",
        }
        run = {"model": "ScratchModel", "epochs": EPOCHS, "settings": settings}
        rows.append(Entry(OURS, EXAMPLE[name], "ours", "clinadapt", [run], group=name))
        for backend in BACKENDS:
            run = {
                "mixture": name == "moe",
                "batch_size": BATCH[name],
                "epochs": EPOCHS,
                "seed": 0,
            }
            rows.append(
                Entry(
                    "Keras example",
                    f"{EXAMPLE[name]}, {backend}",
                    "keras_scratch",
                    "peers",
                    [run],
                    group=name,
                    variables={"KERAS_BACKEND": backend},
                )
            )
    return rows


def remarks(record: dict[str, Any]) -> list[str]:
    """Return no remarks."""
    return []
