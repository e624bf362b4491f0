"""What was found in sentences, and what somebody in the hospital can do about it."""

from clinadapt.core.formatting import metric, share
from clinadapt.deployment.drift.compare import Drift, Finding, Performance

TITLES = {
    "length": "Words in a note",
    "tokens_per_word": "Pieces that the tokenizer cuts a word into",
    "unknown_tokens": "Share of pieces that the tokenizer does not know",
    "unknown_words": "Share of words that the model never met",
    "words": "Frequent words",
}
ENCODING = (
    "Look at some notes: a wrong text encoding, another language, marks of de-identification or a "
    "new template do this."
)
ADVICE = {
    "length": "Ask whether another kind of notes came in, or whether a template or the export "
    "changed. A model that reads only so many words of a note may now miss its end.",
    "tokens_per_word": ENCODING,
    "unknown_tokens": ENCODING,
    "unknown_words": ENCODING,
    "words": "Look at the words below: do they come from a new template, another ward, or another "
    "kind of patient?",
    "scores": "If more or fewer patients truly have it, the model may be right; if not, its "
    "threshold no longer fits. Have some two hundred of these notes labelled, and give them with "
    "--label.",
    "classes": "Precision and F1 move with the share of a class, even where the model is as good "
    "as it was. A threshold chosen at the old share may no longer be the best.",
    "worse": "Do not go on as before: choose the threshold anew, or fit again with the new notes "
    "among those of the fitting.",
}
SCORES = {"auroc": "AUROC", "brier": "Brier score"}
VERDICTS = {
    "none": "as before",
    "slight": "differs a little",
    "moderate": "drift",
    "large": "strong drift",
}


def title(found: Finding) -> str:
    """Name of a quantity as a reader knows it."""
    if found.kind == "scores":
        return f"Predicted probability of {found.name}"
    if found.kind == "classes":
        return f"Share of notes labelled {found.name}"
    return TITLES[found.name]


def score_name(one: Performance) -> str:
    """Name of a score as a reader knows it."""
    return SCORES.get(one.name) or metric(one.name)


def verdict(one: Finding | Performance) -> str:
    """What a difference amounts to."""
    if isinstance(one, Finding) or not matters(one):
        better = isinstance(one, Performance) and one.better and one.verdict != "none"
        return "better" if better else VERDICTS[one.verdict]
    return "worse" if one.verdict == "moderate" else "much worse"


def _in_a_sentence(text: str) -> str:
    return text[0].lower() + text[1:]


def advice(found: Finding) -> str:
    """What to do if a quantity has drifted."""
    return ADVICE[found.name if found.kind == "notes" else found.kind]


def number(found: Finding, value: float | None) -> str:
    """A mean, in the unit of its quantity."""
    if value is None:
        return "–"
    if found.kind in ("scores", "classes") or found.name.startswith("unknown"):
        return share(value)
    return f"{value:.2f}" if found.name == "tokens_per_word" else f"{value:.0f}"


def headline(drift: Drift) -> str:
    """The answer in a sentence."""
    changed = [_in_a_sentence(title(one)) for one in drift.findings if matters(one)]
    worse = [score_name(one) for one in drift.performance if matters(one)]
    parts = []
    if worse:
        parts.append(f"the model does worse than at its fitting ({', '.join(worse)})")
    if changed:
        parts.append(f"the notes or what is said of them changed: {'; '.join(changed)}")
    if parts:
        return f"Drift: {', and '.join(parts)}."
    everything: list[Finding | Performance] = [*drift.findings, *drift.performance]
    if any(one.verdict == "slight" for one in everything):
        return (
            "No drift that matters: some things differ by more than chance, but by little. Nothing "
            "needs to be done."
        )
    return "No drift: the new notes cannot be told from those of the fitting."


def matters(one: Finding | Performance) -> bool:
    """Whether something changed so much that somebody should look."""
    return one.verdict in ("moderate", "large")


def trust(drift: Drift) -> str:
    """How far the answer goes."""
    told = f"{drift.notes:,} new notes were held against {drift.reference_notes:,} of the fitting"
    if drift.groups is not None:
        told += f"; the new ones are of {drift.groups:,} patients"
    if drift.performance:
        return f"{told}."
    return (
        f"{told}. Without labels nobody can say whether the model is still right: notes may change "
        "and leave it right, or look the same and leave it wrong. Have some labelled now and then, "
        "and give them with --label."
    )
