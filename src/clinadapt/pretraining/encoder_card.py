"""Model card of an encoder (Mitchell et al. 2019, arXiv 1810.03993)."""

from typing import Any

from clinadapt.core import formatting
from clinadapt.core.escaping import markdown

LOOKS_SHOWN = 6
LEARNED = {
    "bag": "guess masked tokens, and the words of a sequence from the mean of its features",
    "masked": "guess masked tokens",
    "distilled": "guess masked tokens, in agreement with a teacher",
}


def encoder_card(name: str, record: dict[str, Any]) -> str:
    """Return the text of an encoder's ``README.md``.

    Parameters
    ----------
    name : str
        Name of its folder.
    record : dict
        Content of ``pretraining.json``.
    """
    result, corpus = record["result"], record["corpus"]
    origin = (
        f"continued from {markdown(record['start'])}"
        if record["start"]
        else f"new, of size {record['size']}"
    )
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: feature-extraction",
        "---",
        "",
        f"# {markdown(name)}",
    ]
    lines += [
        "",
        f"An encoder of {record['parameters']:,} weights ({origin}), made by `clinadapt pretrain` "
        "from unlabelled texts. `transformers.AutoModel` opens this folder; `--encoder` of a "
        "study takes it.",
        "",
        "## How it was made",
        "",
        f"- It learned to {LEARNED[record['objective']]}.",
    ]
    if record["teacher"]:
        lines.append(f"- Its teacher: {markdown(record['teacher']['name'])}.")
    machine = record["environment"]["machine"]
    lines += [
        f"- It read {result['tokens']:,} tokens in {result['steps']:,} steps, sequences of "
        f"{record['length']}, in {formatting.seconds(result['seconds'])} on "
        f"{markdown(machine['gpu'] or machine['cpu'])}: {result['tokens_per_second']:,} tokens "
        "per second.",
        f"- The texts: {corpus['words']:,} words in {corpus['texts']:,} texts; "
        f"{corpus['repeated_segments']:,} repeated segments were left out, and "
        f"{corpus['excluded_segments']:,} segments of excluded notes (of "
        f"{corpus['excluded_notes_found']:,} of these notes, at least half was in the texts).",
        "",
        f"Loss and accuracy on {corpus['held_out_texts']} held-out texts:",
        "",
        "| tokens read | time | loss | accuracy |",
        "|---|---|---|---|",
    ]
    log = record["log"]
    shown = log[:: max(1, len(log) // LOOKS_SHOWN)]
    if shown[-1] is not log[-1]:
        shown.append(log[-1])
    lines += [
        f"| {entry['tokens']:,} | {formatting.seconds(entry['seconds'])} | "
        f"{entry['held_out_loss']:.3f} | {entry['held_out_accuracy']:.1%} |"
        for entry in shown
    ]
    lines += [
        "",
        "## Limits",
        "",
        "- It learned the language, speciality and period of its texts, and shares their gaps; "
        "other notes may be represented less well.",
        "- If the texts are about patients, protect this folder as you protect them: sub-words may "
        "be names, and weights can memorise text.",
        "- `pretraining.json` contains all settings and the complete log, but no text.",
        "",
    ]
    return "\n".join(lines)
