"""Writes RESULTS.md from all records in raw/."""

import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.contest import (
    HERE,
    OURS,
    is_extrapolated,
    row_epoch_seconds,
    row_scores,
    row_seconds,
)
from benchmarks.parts import PARTS

RAW = HERE / "raw"
PAGE = HERE / "RESULTS.md"
HEADER = """# Benchmark results

Written by `make bench` from `raw/*.json`; do not edit. The rows of a table were run one after
another on the same notes, split and encoder. Peers run with their documented defaults and with the
fastest of their own settings that we found, each in its own environment, offline.

- **s/epoch**: one complete epoch, validation included. The first epoch includes set-up and warm-up
  and is part of the total only.
- **tokens/s** (words/s): training and validation tokens of an epoch per second, without padding.
- **total**: time of the process without imports: reading and tokenizing the notes, loading the
  encoder, all epochs of all runs, predicting the test notes. **≈** marks a total in which epochs or
  similar runs were not run but extrapolated.
- **process**: time from the start to the end of the process, imports included, if nothing was
  extrapolated.
- **macro-F1**: of the most probable class, on the test notes; mean (± standard deviation) over
  runs, if all epochs were run.
- **×**: total relative to that of clinadapt in the same group of rows.
"""


def write() -> Path:
    """Write the page and return its path."""
    records = [
        json.loads(path.read_text(encoding="utf-8")) | {"file": path.name}
        for path in sorted(RAW.glob("*.json"))
    ]
    order = list(PARTS)
    records = [record for record in records if record.get("part") in PARTS]
    records.sort(key=lambda record: (order.index(record["part"]), record["name"]))
    sections = [HEADER, *(_section(record) for record in records)]
    PAGE.write_text("\n".join(sections), encoding="utf-8")
    return PAGE


def _section(record: dict[str, Any]) -> str:
    part = PARTS[record["part"]]
    title = part.TITLE + (f" ({record['name']})" if record["name"] else "")
    lines = [f"## {title}", "", part.INTRODUCTION, "", *_circumstances(record, part.UNIT), ""]
    unit = part.UNIT
    lines += [
        f"| method | settings | s/epoch | {unit}/s | total s | process s "
        "| macro-F1 | peak MB | × |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    members = Counter(row["group"] for row in record["rows"])
    firsts: dict[str, float] = {}
    for row in record["rows"]:
        if reason := failure(row):
            lines.append(f"| {row['method']} | {row['settings']} | failed: {reason} | | | | | | |")
            continue
        total = row_seconds(row)
        if row["method"] == OURS and members[row["group"]] > 1:
            firsts.setdefault(row["group"], total)
        lines.append(_line(row, record["workload"][f"epoch_{unit}"], firsts.get(row["group"])))
    remarks = part.remarks(record)
    if remarks:
        lines += ["", *(f"- {remark}" for remark in remarks)]
    return "\n".join(lines) + "\n"


def failure(row: dict[str, Any]) -> str | None:
    """Return why a row has no results; None if it has."""
    if "failed" in row:
        return str(row["failed"])
    return next((str(done["failed"]) for done in row["runs"] if "failed" in done), None)


def _line(row: dict[str, Any], epoch_units: int, ours: float | None) -> str:
    pace, total, scores = row_epoch_seconds(row), row_seconds(row), row_scores(row)
    spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
    process = row.get("process_seconds")
    peak = max(done["peak_memory_bytes"] for done in row["runs"])
    cells = [
        f"**{row['method']}**" if row["method"] == OURS else row["method"],
        row["settings"],
        "–" if pace is None else f"{pace:,.2f}",
        "–" if pace is None else f"{epoch_units / pace:,.0f}",
        ("≈ " if is_extrapolated(row) else "") + f"{total:,.1f}",
        "–" if is_extrapolated(row) or process is None else f"{process:,.1f}",
        f"{statistics.mean(scores):.3f}{spread}" if scores else "–",
        f"{peak / 1e6:,.0f}",
        "–" if ours is None else f"{total / ours:,.3g}",
    ]
    return "| " + " | ".join(cells) + " |"


def _circumstances(record: dict[str, Any], unit: str) -> list[str]:
    """Return lines on notes, machine and versions, and on the encoder if tokens are counted."""
    work, here, rates = record["workload"], record["environment"], record["machine"]
    notes, device = work["notes"], here["machine"]
    units = sum(work[unit].values())
    encoder = [f"- Encoder: {work['encoder']} ({work['layers']} layers × {work['width']})."]
    if unit != "tokens":
        encoder = []
    versions: dict[str, str] = {}
    for row in record["rows"]:
        listed = ", ".join(f"{name} {number}" for name, number in row.get("versions", {}).items())
        if listed:
            versions.setdefault(row["method"], listed)
    return [
        f"- Notes: {work['source']}, {work['classes']} classes; {notes['train']:,} training, "
        f"{notes['validation']:,} validation, {notes['test']:,} test; {units:,} {unit}, "
        f"{units / sum(notes.values()):.0f} per note (at most {work['most'][unit]}).",
        *encoder,
        f"- Machine: {device['gpu'] or device['cpu']}, {device['cores']} cores, "
        f"{device['memory_bytes'] / 1e9:.0f} GB; before the run {rates['bf16_flops'] / 1e12:.2f} "
        f"TFLOP/s in bf16, {rates['fp32_flops'] / 1e12:.2f} in fp32, "
        f"{rates['copy_bytes'] / 1e9:.1f} GB/s copied, load {rates['load']:.1f}.",
        f"- Commit {here['commit']}, {here['started']}.",
        *(f"- {method}: {listed}." for method, listed in versions.items()),
    ]
