"""Tests the claims of arXiv 2407.19299, each as a difference of scores with its interval.

    python benchmarks/paper_claims.py NOTES --label label --group group --split split --out OUT

Runs the study of benchmarks/paper.toml (or resumes it in OUT) and prints, for each claim, the mean
score of some configurations minus that of others, on the same resamples of patients and seeds. The
p-values of the claims of one set of notes are corrected together (Holm).
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import labelled
import numpy as np

from clinadapt import Study
from clinadapt.data.notes import Notes
from clinadapt.evaluation.entrants import Entrant
from clinadapt.evaluation.paired_comparison import corrected, difference
from clinadapt.evaluation.recommendation import Evidence

DESIGN = Path(__file__).parent / "paper.toml"
ADAPTERS = ("bottleneck", "lightweight", "tiny_attention", "gated_residual")
Chosen = Callable[[Entrant], bool]


def on_encoder(adapter=None, tuned=None, matched=None) -> Chosen:
    """Select configurations with a pretrained encoder; "any" is any adapter except "none"."""

    def chosen(entrant: Entrant) -> bool:
        settings = entrant.settings
        return (
            entrant.model == "pretrained"
            and (
                adapter is None
                or settings["adapter"] == adapter
                or (adapter == "any" and settings["adapter"] != "none")
                or (adapter == "others" and settings["adapter"] in ADAPTERS[:-1])
            )
            and (tuned is None or (settings["tuned_layers"] != 0) == tuned)
            and (matched is None or (settings["match_parameters"] is not None) == matched)
        )

    return chosen


def named(*models: str) -> Chosen:
    """Select configurations by model."""
    return lambda entrant: entrant.model in models


FROZEN, TUNED = on_encoder("none", tuned=False), on_encoder("none", tuned=True)
SCRATCH, TFIDF = named("transformer", "moe"), named("tfidf-logistic")
CLAIMS: list[tuple[str, Chosen, Chosen]] = [
    (
        "an adapter vs none, frozen",
        on_encoder("any", tuned=False, matched=False),
        FROZEN,
    ),
    (
        "an adapter vs none, frozen, 100,000 weights each",
        on_encoder("any", tuned=False, matched=True),
        FROZEN,
    ),
    ("an adapter vs none, tuned", on_encoder("any", tuned=True), TUNED),
    *(
        (
            f"gated residual vs the other adapters, {words}",
            on_encoder("gated_residual", tuned=tuned, matched=matched),
            on_encoder("others", tuned=tuned, matched=matched),
        )
        for words, tuned, matched in (
            ("frozen", False, False),
            ("frozen, 100,000 weights each", False, True),
            ("tuned", True, False),
        )
    ),
    ("frozen vs tuned", on_encoder(tuned=False, matched=False), on_encoder(tuned=True)),
    ("from scratch vs frozen, no adapter", SCRATCH, FROZEN),
    ("from scratch vs tuned, no adapter", SCRATCH, TUNED),
    ("MoE vs Transformer, from scratch", named("moe"), named("transformer")),
    ("TF-IDF vs from scratch", TFIDF, SCRATCH),
    ("TF-IDF vs tuned", TFIDF, on_encoder(tuned=True)),
]


def contrast(evidence: Evidence, chosen: Chosen, others: Chosen):
    """Return the difference between the means of two groups of configurations."""
    scores = evidence.scores
    sides = [
        [entrant.configuration_id for entrant in evidence.entrants if side(entrant)]
        for side in (chosen, others)
    ]
    one, other = ([scores.value[id] for id in side] for side in sides)
    first, second = (np.mean([scores.resampled[id] for id in side], axis=0) for side in sides)
    value = scores.sign * float(np.mean(one) - np.mean(other))
    return difference(value, scores.sign * (first - second), scores.freedom)


def fewer(notes: Notes, most: int) -> Notes:
    """Return at most this many training notes, drawn by patient, and all notes of other parts."""
    train = np.ones(len(notes), bool) if notes.parts is None else np.array(notes.parts) == "train"
    patients, sizes = np.unique(notes.clusters[train], return_counts=True)
    order = np.random.default_rng(0).permutation(len(patients))
    drawn = patients[order[np.cumsum(sizes[order]) <= most]]
    return notes.take(np.flatnonzero(~train | np.isin(notes.clusters, drawn)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    labelled.add_options(parser)
    parser.add_argument("--metric")
    parser.add_argument(
        "--also", nargs="+", default=[], help="more metrics of the same configurations"
    )
    parser.add_argument(
        "--encoder", nargs="+", default=[], help="encoders; default: clinadapt-mini-fr"
    )
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument(
        "--most", type=int, help="maximum number of training notes, or of all notes without a split"
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    notes = labelled.read(options)
    if options.most is not None:
        notes = fewer(notes, options.most)
    asked = {name: getattr(options, name) for name in ("metric", "max_tokens", "seeds")}
    overrides = {name: value for name, value in asked.items() if value is not None}
    study = Study(notes, DESIGN, options.out, options.encoder, overrides)
    study.run(finished=lambda result: print(result["configuration"], result["status"], flush=True))
    evidence = study.fit_runs(lambda *_: None, lambda _: None, False).evidence
    for metric in (study.metric, *options.also):
        report(replace(evidence, metric=metric))


def report(evidence: Evidence) -> None:
    """Print the score of each configuration and the result of each claim."""
    scores = evidence.scores
    print(f"\n{evidence.metric}")
    for one in sorted(evidence.entrants, key=lambda one: -scores.value[one.configuration_id]):
        print(f"{scores.value[one.configuration_id]:.3f}  {one.seconds:6.1f} s  {one.label}")
    differences = corrected([contrast(evidence, one, other) for _, one, other in CLAIMS])
    for (claim, _, _), item in zip(CLAIMS, differences, strict=True):
        verdict = "significant" if item.different else "not significant"
        print(f"| {claim} | {item.value:+.3f} [{item.low:+.3f}, {item.high:+.3f}] | {verdict} |")


if __name__ == "__main__":
    main()
