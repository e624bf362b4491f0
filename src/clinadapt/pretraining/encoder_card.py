"""The model card of an encoder (Mitchell et al. 2019, arXiv 1810.03993), as the run knows it."""

from typing import Any

from clinadapt.core import formatting

LOOKS_SHOWN = 6
LEARNED = {
    "bag": "guess masked tokens, and the words of a sequence from the mean of its states",
    "masked": "guess masked tokens",
    "distilled": "guess masked tokens, in agreement with a teacher",
}


def encoder_card(name: str, record: dict[str, Any]) -> str:
    """Text of an encoder's ``README.md``.

    Parameters
    ----------
    name : str
        Of its folder.
    record : dict
        Content of ``pretraining.json``.
    """
    found, corpus = record["result"], record["corpus"]
    begun = (
        f"went on from {record['start']}" if record["start"] else f"new, of size {record['size']}"
    )
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: feature-extraction",
        "---",
        "",
        f"# {name}",
    ]
    lines += [
        "",
        f"An encoder of {record['parameters']:,} weights ({begun}), made by `clinadapt pretrain` "
        "from unlabelled texts. `transformers.AutoModel` opens this folder; `--encoder` of a "
        "study takes it.",
        "",
        "## How it was made",
        "",
        f"- It learned to {LEARNED[record['objective']]}.",
    ]
    if record["teacher"]:
        lines.append(f"- Its teacher: {record['teacher']['name']}.")
    machine = record["environment"]["machine"]
    lines += [
        f"- It read {found['tokens']:,} tokens in {found['steps']:,} steps, sequences of "
        f"{record['length']}, in {formatting.seconds(found['seconds'])} on "
        f"{machine['gpu'] or machine['cpu']}: {found['tokens_per_second']:,} tokens a second.",
        f"- The texts: {corpus['words']:,} words in {corpus['texts']:,} texts; "
        f"{corpus['repeated_segments']:,} repeated segments were left out, and "
        f"{corpus['excluded_segments']:,} segments of notes that it must not know "
        f"({corpus['excluded_notes_found']:,} such notes were there, half or more of each).",
        "",
        f"Loss and accuracy on {corpus['held_out_texts']} texts that were held out:",
        "",
        "| tokens read | time | loss | told right |",
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
        "- It knows the texts' language, speciality and time, and their gaps; other notes may be "
        "read less well.",
        "- If the texts were of patients, treat this folder as you treat them: sub-words may be "
        "names, and weights can remember.",
        "- `pretraining.json` holds all settings and the whole log; no text.",
        "",
    ]
    return "\n".join(lines)
