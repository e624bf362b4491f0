"""Small studies, and what is compared between two of them."""

import json

import polars as pl

SMALL = {"n_notes": 240, "n_patients": 80, "n_positive": 96}


def results_of(out):
    """Results of a study's runs, by id."""
    return {
        path.parent.name: json.loads(path.read_text())
        for path in sorted((out / "cells").glob("*/result.json"))
    }


def comparable(out):
    """Everything that a study reports, except time and memory.

    The recommendation is left out too: the cheapest of equals depends on the time.
    """
    costs = ("seconds", "memory", "recommended")
    board = pl.read_csv(out / "leaderboard.csv")
    board = board.select([c for c in board.columns if not any(mark in c for mark in costs)])
    runs = {
        key: {
            "metrics": result.get("metrics"),
            "validation": result.get("validation_metrics"),
            "training": result.get("training"),
            "threshold": result.get("threshold"),
        }
        for key, result in results_of(out).items()
    }
    return board.to_dicts(), runs, json.loads((out / "study.json").read_text())["best"]


def design(folder, **more):
    return {
        "name": "small",
        "seeds": [0, 1],
        "max_tokens": 24,
        "resamples": 100,
        "folds": 1,
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
