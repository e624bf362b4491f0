"""Drift results in words, and what to do about them."""

from clinadapt.core.formatting import metric, share
from clinadapt.deployment.drift.compare import Drift, Finding, Performance

TITLES = {
    "length": "Words per note",
    "tokens_per_word": "Tokens per word",
    "unknown_tokens": "Share of unknown tokens",
    "unknown_words": "Share of words unknown to the model",
    "words": "Frequent words",
}
ENCODING = (
    "Inspect some notes. Possible causes: a wrong text encoding, another language, marks of "
    "de-identification or a new template."
)
ADVICE = {
    "length": "Check whether another type of note was added, or a template or the export changed. "
    "A model that truncates notes may now miss their end.",
    "tokens_per_word": ENCODING,
    "unknown_tokens": ENCODING,
    "unknown_words": ENCODING,
    "words": "Inspect the words below: do they come from a new template, another ward or other "
    "patients?",
    "scores": "If the share of patients with this class has really changed, the model may be "
    "right; if not, its threshold is no longer suitable. Have about 200 of these notes labelled "
    "and run the command again with --label.",
    "classes": "Precision and F1 change with the share of a class, even if the model is as good as "
    "before. A threshold chosen at the old share may no longer be optimal.",
    "worse": "Do not continue to use the model as it is: choose a new threshold, or train again "
    "with the new notes included.",
}
SCORES = {"auroc": "AUROC", "brier": "Brier score"}
VERDICTS = {
    "none": "no change",
    "slight": "slight change",
    "moderate": "drift",
    "large": "strong drift",
}


def title(finding: Finding) -> str:
    """Return the title of a quantity for readers."""
    if finding.kind == "scores":
        return f"Predicted probability of {finding.name}"
    if finding.kind == "classes":
        return f"Share of notes labelled {finding.name}"
    return TITLES[finding.name]


def score_name(one: Performance) -> str:
    """Return the name of a score for readers."""
    return SCORES.get(one.name) or metric(one.name)


def verdict(one: Finding | Performance) -> str:
    """Return the verdict on a change in words."""
    if isinstance(one, Finding) or not matters(one):
        better = isinstance(one, Performance) and one.better and one.verdict != "none"
        return "better" if better else VERDICTS[one.verdict]
    return "worse" if one.verdict == "moderate" else "much worse"


def _in_a_sentence(text: str) -> str:
    return text[0].lower() + text[1:]


def advice(finding: Finding) -> str:
    """Return what to do if a quantity has drifted."""
    return ADVICE[finding.name if finding.kind == "notes" else finding.kind]


def number(finding: Finding, value: float | None) -> str:
    """Return a mean, formatted in the unit of its quantity."""
    if value is None:
        return "–"
    if finding.kind in ("scores", "classes") or finding.name.startswith("unknown"):
        return share(value)
    return f"{value:.2f}" if finding.name == "tokens_per_word" else f"{value:.0f}"


def headline(drift: Drift) -> str:
    """Return the result in one sentence."""
    changed = [_in_a_sentence(title(one)) for one in drift.findings if matters(one)]
    worse = [score_name(one) for one in drift.performance if matters(one)]
    parts = []
    if worse:
        parts.append(f"the model performs worse than at training ({', '.join(worse)})")
    if changed:
        parts.append(f"these quantities changed: {'; '.join(changed)}")
    if parts:
        return f"Drift: {', and '.join(parts)}."
    everything: list[Finding | Performance] = [*drift.findings, *drift.performance]
    if any(one.verdict == "slight" for one in everything):
        return (
            "No relevant drift: some differences are statistically significant but small. No "
            "action is needed."
        )
    return "No drift: the new notes do not differ significantly from the reference notes."


def matters(one: Finding | Performance) -> bool:
    """Return whether a change is large enough to require attention."""
    return one.verdict in ("moderate", "large")


def trust(drift: Drift) -> str:
    """Return what the result is based on, and its limits."""
    basis = (
        f"{drift.notes:,} new notes were compared with {drift.reference_notes:,} reference notes"
    )
    if drift.groups is not None:
        basis += f"; the new notes are from {drift.groups:,} patients"
    if drift.performance:
        return f"{basis}."
    return (
        f"{basis}. Without labels, it is unknown whether the model is still accurate: it may "
        "remain accurate on different notes, and become inaccurate on similar ones. Have some "
        "notes labelled from time to time and run the command with --label."
    )
