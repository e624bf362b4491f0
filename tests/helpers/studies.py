"""What is compared of two studies."""

import json

import polars as pl


def cells_of(out):
    return {
        path.parent.name: json.loads(path.read_text())
        for path in sorted((out / "cells").glob("*/result.json"))
    }


def comparable(out):
    """Everything that a study claims, without what time and memory it took.

    The recommendation is of the cheapest of equals, so it hangs on the time too.
    """
    costs = ("seconds", "memory", "recommended")
    board = pl.read_csv(out / "leaderboard.csv")
    board = board.select([c for c in board.columns if not any(mark in c for mark in costs)])
    cells = {
        key: {
            "metrics": result.get("metrics"),
            "validation": result.get("validation_metrics"),
            "training": result.get("training"),
            "threshold": result.get("threshold"),
        }
        for key, result in cells_of(out).items()
    }
    return board.to_dicts(), cells, json.loads((out / "study.json").read_text())["best"]


def design(folder, **more):
    return {
        "name": "small",
        "seeds": [0, 1],
        "max_tokens": 24,
        "resamples": 100,
        "configurations": [
            {"model": "tfidf-logistic"},
            {"model": ["transformer", "moe"], "epochs": 2, "vocabulary": 300},
            {
                "model": "pretrained",
                "encoder": str(folder),
                "adapter": ["none", "bottleneck"],
                "tuned_layers": [0, 1],
                "epochs": 2,
            },
            {"model": "pretrained", "encoder": "drbert"},
        ],
        **more,
    }
