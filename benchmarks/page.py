"""RESULTS.md, written anew from every record in raw/."""

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

Written by `make bench` from `raw/*.json`; do not edit. Rows of a table were run one after another
on the same notes, split and encoder. Peers run at their documented defaults and at the fastest
settings of their own that we found, each in its own environment, offline.

- **s/epoch**: one complete epoch, validation included. The first epoch, with set-up and warm-up,
  counts in the total only.
- **tokens/s** (words/s): real ones, padding left out, of the training and validation notes that an
  epoch reads.
- **total**: a process's whole work but its imports: reading and tokenizing the notes, loading the
  encoder, every epoch of every run, predicting the test notes. **≈** marks a total that holds
  epochs (or like runs) that were not waited for, added at the measured pace.
- **process**: from the start of the process to its end, imports included, where all of it was run.
- **macro-F1**: on the test notes, most probable class; mean (± standard deviation) over runs; only
  where every epoch was run.
- **×**: total over clinadapt's of the same rows.
"""


def write() -> Path:
    """Write the page; returns its path."""
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
    """Why a row has no figures, None if it has."""
    if "failed" in row:
        return str(row["failed"])
    return next((str(done["failed"]) for done in row["runs"] if "failed" in done), None)


def _line(row: dict[str, Any], epoch_units: int, ours: float | None) -> str:
    pace, total, scores = row_epoch_seconds(row), row_seconds(row), row_scores(row)
    spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
    whole = row.get("process_seconds")
    peak = max(done["peak_memory_bytes"] for done in row["runs"])
    cells = [
        f"**{row['method']}**" if row["method"] == OURS else row["method"],
        row["settings"],
        "–" if pace is None else f"{pace:,.2f}",
        "–" if pace is None else f"{epoch_units / pace:,.0f}",
        ("≈ " if is_extrapolated(row) else "") + f"{total:,.1f}",
        "–" if is_extrapolated(row) or whole is None else f"{whole:,.1f}",
        f"{statistics.mean(scores):.3f}{spread}" if scores else "–",
        f"{peak / 1e6:,.0f}",
        "–" if ours is None else f"{total / ours:,.3g}",
    ]
    return "| " + " | ".join(cells) + " |"


def _circumstances(record: dict[str, Any], unit: str) -> list[str]:
    """Notes, machine and versions; the encoder, where its tokens are what is counted."""
    work, here, rates = record["workload"], record["environment"], record["machine"]
    notes, device = work["notes"], here["machine"]
    units = sum(work[unit].values())
    encoder = [f"- Encoder: {work['encoder']} ({work['layers']} layers × {work['width']})."]
    if unit != "tokens":
        encoder = []
    versions: dict[str, str] = {}
    for row in record["rows"]:
        named = ", ".join(f"{name} {number}" for name, number in row.get("versions", {}).items())
        if named:
            versions.setdefault(row["method"], named)
    return [
        f"- Notes: {work['source']}, {work['classes']} classes; {notes['train']:,} training, "
        f"{notes['validation']:,} validation, {notes['test']:,} test; {units:,} {unit}, "
        f"{units / sum(notes.values()):.0f} a note (at most {work['most'][unit]}).",
        *encoder,
        f"- Machine: {device['gpu'] or device['cpu']}, {device['cores']} cores, "
        f"{device['memory_bytes'] / 1e9:.0f} GB; at the time {rates['bf16_flops'] / 1e12:.2f} "
        f"TFLOP/s in bf16, {rates['fp32_flops'] / 1e12:.2f} in fp32, "
        f"{rates['copy_bytes'] / 1e9:.1f} GB/s copied, load {rates['load']:.1f} before it began.",
        f"- Commit {here['commit']}, {here['started']}.",
        *(f"- {method}: {named}." for method, named in versions.items()),
    ]
