"""The model card of a bundle, in the Hugging Face format, with its scores as a model index.

It follows Mitchell et al. 2019, "Model Cards for Model Reporting" (arXiv 1810.03993) as far as the
run knows the facts, and lists what only its makers can add.
"""

import json
from pathlib import Path
from typing import Any

from clinadapt.core.escaping import markdown
from clinadapt.features.encoders.catalog import CATALOG

TASKS = {
    "binary": "two classes",
    "multiclass": "one of several classes",
    "multilabel": "any number of labels",
}
OPEN = (
    "intended use and users, and who is responsible for the model",
    "how and by whom the labels were made, and how well annotators agree",
    "sites, years and kinds of the notes it was fitted on, and whether yours are similar",
    "performance in the patient groups that matter at your site",
)


def model_card(record: dict[str, Any]) -> str:
    """Return the text of a bundle's ``README.md``.

    Parameters
    ----------
    record : dict
        Content of ``bundle.json``.
    """
    provenance = record["provenance"]
    data = provenance.get("data", {})
    name = provenance.get("configuration", record["model"])
    scores = provenance.get("metrics", {})
    lines = ["---", _metadata(name, data, scores), "---", "", f"# {markdown(name)}", ""]
    lines += [
        f"A classifier of clinical notes into {TASKS[record['task']]}, made with clinadapt "
        f"{record['clinadapt']}. Classes: {', '.join(map(markdown, record['classes']))}.",
        "",
    ]
    if data.get("synthetic"):
        lines += ["**Fitted on synthetic notes: for trying the program, not for patients.**", ""]
    lines += _fitted_on(record, data)
    if scores:
        lines += _scores(scores)
    lines += _use(record)
    lines += _export(record["provenance"].get("export"))
    lines += _privacy(record.get("privacy"))
    lines += _limits(record)
    lines += _settings(record, provenance.get("environment", {}))
    return "\n".join(lines)


def _metadata(name: str, data: dict[str, Any], scores: dict[str, Any]) -> str:
    from huggingface_hub import EvalResult, ModelCardData  # slow to import

    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type="clinical-notes",
            dataset_name=Path(str(data.get("source", "notes"))).name,
            dataset_split="test",
            metric_type=metric,
            metric_value=round(score["value"], 4),
        )
        for metric, score in scores.items()
        if score["value"] is not None
    ]
    card = ModelCardData(
        library_name="clinadapt",
        pipeline_tag="text-classification",
        tags=["clinical", "text-classification"],
        model_name=name if results else None,
        eval_results=results or None,
    )
    return str(card.to_yaml())


def _fitted_on(record: dict[str, Any], data: dict[str, Any]) -> list[str]:
    if not data:
        return []
    facts = [f"- notes: {markdown(Path(data['source']).name)}, {data['notes']:,} in total"]
    if data.get("groups"):
        facts.append(f"- patients: {data['groups']:,}, each in one part of the split only")
    chosen = "threshold and stopping were" if record.get("privacy") is None else "threshold was"
    facts.append(
        f"- {chosen} chosen on validation notes, for {record['metric']}; test notes were not used "
        "for any choice"
    )
    return ["## Fitted on", "", *facts, ""]


def _scores(scores: dict[str, Any]) -> list[str]:
    lines = ["## Test scores", "", "| metric | value | 95 % interval |", "|---|--:|---|"]
    for name, score in scores.items():
        if score["value"] is None:
            lines.append(f"| {name} | – | {markdown(score.get('reason', 'undefined'))} |")
        else:
            low, high = (
                "–" if score[end] is None else f"{score[end]:.3f}" for end in ("low", "high")
            )
            lines.append(f"| {name} | {score['value']:.3f} | {low} to {high} |")
    return [
        *lines,
        "",
        "Intervals: bootstrap over patients (over notes if patients are unknown).",
        "",
    ]


def _use(record: dict[str, Any]) -> list[str]:
    lines = ["## Use", "", "```python", "import clinadapt"]
    lines += [
        'classifier = clinadapt.load("this folder")',
        'classifier.predict_proba(["…"])',
        "```",
        "",
    ]
    is_calibrated = record.get("scale") == "calibrated"
    value = record["calibrated_threshold" if is_calibrated else "threshold"]["value"]
    if is_calibrated:
        lines += [
            "Probabilities are calibrated on validation notes "
            f'({record["calibration"]["map"]["method"]}); `load(…, scale="raw")` returns the '
            "model's own, which the scores above are of.",
            "",
        ]
    if value is not None:
        lines += [f"A class is predicted at a probability of {value:.3f} or more.", ""]
    return lines


def _export(comparison: dict[str, Any] | None) -> list[str]:
    if comparison is None:
        return []
    return [
        "## Exported",
        "",
        f"The network is an ONNX file with weights in {comparison['weights']}, run by "
        f"{comparison['runtime']}: {comparison['speed']:.2f} times as fast as the native model on "
        f"the machine and the {comparison['notes']:,} notes of the export. Probabilities differ "
        f"from the native ones by at most {comparison['largest']:.4f} (allowed: "
        f"{comparison['bound']}), on average by {comparison['mean']:.5f}; {comparison['changed']} "
        f"of {comparison['notes']:,} decisions changed. The scores above are of the native model.",
        "",
    ]


def _privacy(guarantee: dict[str, Any] | None) -> list[str]:
    if guarantee is None:
        return []
    return [
        "## Privacy",
        "",
        f"Trained with differential privacy: ε = {guarantee['epsilon']:.2f}, "
        f"δ = {guarantee['delta']:g}, for adding or removing one training note "
        f"(noise multiplier {guarantee['noise_multiplier']:.3g}, gradients clipped to "
        f"{guarantee['clipping']:g}, {guarantee['steps']:,} steps, each note in one with "
        f"probability {guarantee['sampling_rate']:.3g}).",
        "",
        "- For a patient with k notes the bound is up to k times that ε.",
        "- Not covered: the validation notes, on which the threshold, the calibration and this "
        "model were chosen; the names of the classes; the scores on this card.",
        "",
    ]


def _limits(record: dict[str, Any]) -> list[str]:
    lines = ["## Limits", ""]
    lines += ["- For research: it has not been assessed as a medical device."]
    lines += [
        "- It was trained on patient notes: protect its weights and terms as you do the notes.",
        "- Performance may be lower on notes of another site, time or kind than on the test notes.",
    ]
    most = record["settings"].get("max_tokens")
    if most is not None and record["settings"].get("truncation") != "windows":
        lines.append(f"- It reads at most {most} sub-words of each note.")
    encoder = CATALOG.get(str(record["settings"].get("encoder")))
    if encoder is not None:
        lines.append(f"- Its encoder, {encoder.name}, is licensed {encoder.licence}.")
    lines += ["", "To be completed by those who made it:", ""]
    return [*lines, *(f"- {item}" for item in OPEN), ""]


def _settings(record: dict[str, Any], environment: dict[str, Any]) -> list[str]:
    kept = {key: record[key] for key in ("model", "settings", "threshold", "metric")}
    if environment:
        kept["made with"] = environment.get("versions", {})
    text = json.dumps(kept, ensure_ascii=False, indent=2)
    return ["## Settings", "", "```json", text, "```", ""]
