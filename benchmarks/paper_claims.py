"""The claims of arXiv 2407.19299, each as a difference of scores with its interval.

    python benchmarks/paper_claims.py NOTES --label label --group group --split split --out OUT

Runs the study of benchmarks/paper.toml (or goes on with it in OUT) and prints, for every claim, the
mean score of some rows less that of others, on the same resamples of patients and seeds; the claims
of one set of notes are corrected together (Holm).
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import labelled
import numpy as np

from clinadapt import Study
from clinadapt.data.notes import Notes
from clinadapt.evaluation.paired_comparison import corrected, difference
from clinadapt.evaluation.recommendation import Entrant, Evidence

DESIGN = Path(__file__).parent / "paper.toml"
ADAPTERS = ("bottleneck", "lightweight", "tiny_attention", "gated_residual")
Chosen = Callable[[Entrant], bool]


def on_encoder(adapter=None, tuned=None, matched=None) -> Chosen:
    """Rows with a pretrained encoder; "any" stands for an adapter that is not "none"."""

    def chosen(row: Entrant) -> bool:
        settings = row.settings
        return (
            row.model == "pretrained"
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


def family(*names: str) -> Chosen:
    return lambda row: row.model in names


FROZEN, TUNED = on_encoder("none", tuned=False), on_encoder("none", tuned=True)
SCRATCH, TFIDF = family("transformer", "moe"), family("tfidf-logistic")
CLAIMS: list[tuple[str, Chosen, Chosen]] = [
    (
        "an adapter against none, frozen",
        on_encoder("any", tuned=False, matched=False),
        FROZEN,
    ),
    (
        "an adapter against none, frozen, 100,000 weights each",
        on_encoder("any", tuned=False, matched=True),
        FROZEN,
    ),
    ("an adapter against none, tuned", on_encoder("any", tuned=True), TUNED),
    *(
        (
            f"gated residual against the other adapters, {words}",
            on_encoder("gated_residual", tuned=tuned, matched=matched),
            on_encoder("others", tuned=tuned, matched=matched),
        )
        for words, tuned, matched in (
            ("frozen", False, False),
            ("frozen, 100,000 weights each", False, True),
            ("tuned", True, False),
        )
    ),
    ("frozen against tuned", on_encoder(tuned=False, matched=False), on_encoder(tuned=True)),
    ("from scratch against frozen, no adapter", SCRATCH, FROZEN),
    ("from scratch against tuned, no adapter", SCRATCH, TUNED),
    ("MoE against Transformer, from scratch", family("moe"), family("transformer")),
    ("TF-IDF against from scratch", TFIDF, SCRATCH),
    ("TF-IDF against tuned", TFIDF, on_encoder(tuned=True)),
]


def contrast(evidence: Evidence, chosen: Chosen, others: Chosen):
    """Mean of some rows less mean of others."""
    scores = evidence.scores
    sides = [
        [row.configuration_id for row in evidence.entrants if side(row)]
        for side in (chosen, others)
    ]
    one, other = ([scores.value[row] for row in side] for side in sides)
    first, second = (np.mean([scores.resampled[row] for row in side], axis=0) for side in sides)
    value = scores.sign * float(np.mean(one) - np.mean(other))
    return difference(value, scores.sign * (first - second), scores.freedom)


def fewer(notes: Notes, most: int) -> Notes:
    """At most so many training notes, drawn by patient; the other parts stay whole."""
    train = np.ones(len(notes), bool) if notes.parts is None else np.array(notes.parts) == "train"
    patients, sizes = np.unique(notes.clusters[train], return_counts=True)
    order = np.random.default_rng(0).permutation(len(patients))
    drawn = patients[order[np.cumsum(sizes[order]) <= most]]
    return notes.take(np.flatnonzero(~train | np.isin(notes.clusters, drawn)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    labelled.add_options(parser)
    parser.add_argument("--metric")
    parser.add_argument("--also", nargs="+", default=[], help="further metrics of the same rows")
    parser.add_argument("--encoder", nargs="+", default=[], help="instead of clinadapt-mini-fr")
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--most", type=int, help="training notes, or notes of all parts")
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
        tell(replace(evidence, metric=metric))


def tell(evidence: Evidence) -> None:
    """Print every row's score and every claim, by the evidence's metric."""
    scores = evidence.scores
    print(f"\n{evidence.metric}")
    for row in sorted(evidence.entrants, key=lambda row: -scores.value[row.configuration_id]):
        print(f"{scores.value[row.configuration_id]:.3f}  {row.seconds:6.1f} s  {row.label}")
    found = corrected([contrast(evidence, one, other) for _, one, other in CLAIMS])
    for (claim, _, _), item in zip(CLAIMS, found, strict=True):
        told = "told apart" if item.different else "not told apart"
        print(f"| {claim} | {item.value:+.3f} [{item.low:+.3f}, {item.high:+.3f}] | {told} |")


if __name__ == "__main__":
    main()
