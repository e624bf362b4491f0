"""Calculations of the benchmark page, checked by hand, and the exchange with a contestant."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from benchmarks import contest, page, serving, simulations, workload
from benchmarks.contest import OURS, Entry, Plan
from benchmarks.parts import PARTS
from clinadapt.data.synthetic.built_in import built_in_notes
from clinadapt.features.encoders.catalog import resolve


def _run(marks: list[float], planned: int, seconds: float) -> dict[str, object]:
    return {"marks": marks, "planned": planned, "seconds": seconds, "peak_memory_bytes": 10**6}


def test_an_incomplete_run_is_extrapolated_at_the_pace_of_its_later_epochs() -> None:
    done = _run([10.0, 14.0, 18.0], planned=20, seconds=19.0)
    assert contest.unit_seconds(done) == pytest.approx(4.0)
    assert contest.total_seconds(done) == pytest.approx(19.0 + 17 * 4.0)
    row = {"stands_for": 3, "runs": [done, _run([1.0, 2.0], 2, 3.0)]}
    assert contest.is_extrapolated(row)
    assert contest.row_seconds(row) == pytest.approx(3 * (87.0 + 3.0))
    assert contest.row_epoch_seconds(row) == pytest.approx((4.0 + 1.0) / 2)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    notes = built_in_notes(n_notes=120, n_patients=60, n_positive=50)
    folder = tmp_path_factory.mktemp("workload")
    return Plan(workload.prepare(notes, 40, resolve("minilm"), "minilm", folder), complete=False)


def test_thinned_parts_keep_their_proportions(plan: Plan) -> None:
    counts = plan.workload.notes
    assert counts["train"] == pytest.approx(40, abs=2)
    assert counts["validation"] < counts["test"] < counts["train"]


def test_a_contestant_is_scored_and_its_row_is_on_the_page(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"vectorizer": {}, "regression": {}}
    ours = Entry(OURS, "ours", "tfidf", "clinadapt", [options])
    broken = Entry("peer", "broken", "tfidf", "clinadapt", [{"vectorizer": {"no": 1}}])
    rows = [contest.run(entry, plan, Path(sys.executable)) for entry in (ours, broken)]
    assert 0.3 < rows[0]["runs"][0]["f1_macro"] <= 1.0
    assert page.failure(rows[1]) == "KeyError"
    record = {
        "part": "sparse",
        "name": "",
        "environment": {
            "machine": {"cpu": "a cpu", "gpu": None, "cores": 2, "memory_bytes": 8e9},
            "commit": "abc",
            "started": "2026-01-01",
        },
        "machine": {"bf16_flops": 1e12, "fp32_flops": 5e11, "copy_bytes": 1e10, "load": 0.0},
        "workload": plan.workload.record(),
        "rows": rows,
    }
    monkeypatch.setattr(page, "RAW", tmp_path)
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    (tmp_path / "sparse.json").write_text(json.dumps(record), encoding="utf-8")
    text = page.write().read_text(encoding="utf-8")
    assert "| **clinadapt** | ours |" in text
    assert "failed: KeyError" in text


@pytest.mark.parametrize("name", PARTS)
def test_every_part_has_entries_that_begin_with_ours(name: str, plan: Plan) -> None:
    entries = PARTS[name].entries(plan)
    first: dict[str, str] = {}
    for entry in entries:
        first.setdefault(entry.group, entry.method)
        script = Path(contest.__file__).parent / "contestants" / f"{entry.script}.py"
        assert script.is_file()
    assert set(first.values()) == {OURS}


@pytest.mark.parametrize("what", ["split", "threshold", "seeds", "sites", "verdict", "abstention"])
def test_simulations_run(
    what: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they find is held to its bounds by the tests of the modules, on fewer tables."""
    monkeypatch.setattr(simulations, "TRUTH_PATIENTS", 10_000)
    simulations.WHAT[what](argparse.Namespace(tables=1, seed=3, data=None))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert not any("nan" in line for line in lines)


def test_records_of_clients_are_evaluated() -> None:
    """Ten seconds before the stop at 20; note 0 has probability 0.5, note 1 has 0.75."""
    records = [
        (0, 200, 0.5, 8.0, 9.0),  # warming up
        (0, 200, 0.5, 10.0, 10.2),
        (1, 200, 0.75, 12.0, 12.4),
        (0, 0, None, 15.0, 15.1),  # lost
        (1, 200, 0.25, 19.9, 20.5),  # wrong; accepted before the stop
        (0, 503, None, 20.1, 20.2),
        (1, 0, None, 20.2, 20.3),  # not accepted
    ]
    results = serving.judged(records, [0.5, 0.75], seconds=10, stopped=20, reported=6)
    assert results["answers"] == 2
    assert results["notes_a_second"] == pytest.approx(0.2)
    assert results["p50_ms"] == pytest.approx(300)
    assert (results["wrong"], results["largest_difference"]) == (1, 0.5)
    assert results["lost_before_the_stop"] == 1
    assert (results["received_in_all"], results["lost_at_the_stop"]) == (5, 1)
