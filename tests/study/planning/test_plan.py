"""A plan: arithmetic by hand, the cost of shared features, limits, no effect on the study."""

import json

import pytest
from studies import comparable, results_of

from clinadapt import Study
from clinadapt.study.planning.forecast import (
    Forecast,
    Phase,
    first_time_seconds,
    last_two,
    together,
)
from clinadapt.study.planning.plan import (
    Budget,
    Plan,
    disk_bytes,
    make_plan,
    read_plan,
    schedule,
    schedule_as_json,
)
from clinadapt.study.planning.trial_runs import Prober, Timeline, Trial

GB = 10**9


def forecast(name, **more):
    return Forecast(name, **{"fixed_seconds": 10.0, "peak_bytes": GB, **more})


FROZEN = {
    "features": "a",
    "features_seconds": 100.0,
    "features_bytes": 500,
    "features_peak_bytes": 2 * GB,
}
TRAINED = {"phases": (Phase(10, 3.0, 1.0), Phase(20, 2.0, 0.5))}


# ---------------------------------------------------------------- arithmetic


def test_a_line_through_the_last_two_points():
    assert last_two([(10, 1.0), (20, 2.0), (40, 3.0)], 100) == pytest.approx(6.0)
    assert last_two([(10, 5.0), (20, 4.0)], 100) == 4.0  # more notes never take less
    assert last_two([(10, 0.0), (20, 4.0)], 100) == pytest.approx(20.0)  # nor start below zero
    assert last_two([(10, 3.0)], 100) == 3.0
    assert last_two([(10, 1.0), (20, 2.0)], 20) == 2.0


def test_the_first_trial_shows_what_is_done_once_a_process():
    def trials(*points):
        return [Trial(n, n, None, seconds, [], {}) for n, seconds in points]

    assert first_time_seconds(trials((10, 5.0), (20, 2.0), (40, 4.0))) == pytest.approx(4.0)
    assert first_time_seconds(trials((10, 5.0), (20, 2.0))) == pytest.approx(3.0)
    assert first_time_seconds(trials((10, 1.0), (20, 2.0), (40, 4.0))) == 0.0
    assert first_time_seconds(trials((10, 5.0))) == 0.0


def test_seconds_of_a_run_by_hand():
    one = forecast("x", **TRAINED, **FROZEN)
    first, last = 10 * 3.0 + 9 * 1.0, 20 * 2.0 + 19 * 0.5
    assert one.seconds(computes_features=False) == pytest.approx(10 + first + last)
    assert one.seconds(computes_features=True) == pytest.approx(110 + first + last)
    # Only the last training stops early.
    assert one.seconds(False, epochs=3) == pytest.approx(10 + first + 3 * 2.0 + 2 * 0.5)
    assert forecast("sparse").seconds(False, epochs=0) == 10


def test_peak_counts_features_and_memory_already_held():
    one = forecast("x", held_bytes=400, **FROZEN)
    assert (one.peak(False), one.peak(True)) == (GB, 2 * GB)
    assert one.peak(False, held=300) == GB - 100
    assert one.peak(False, held=700) == GB + 300


def test_two_models_in_one_configuration_cost_both():
    sparse = forecast("x", held_bytes=700, peak_bytes=900, bundle_bytes=30)
    encoder = forecast("y", held_bytes=800, **TRAINED, **FROZEN, bundle_bytes=60)
    both = together(sparse, encoder)
    assert both.seconds(True) == pytest.approx(10 + encoder.seconds(True))
    assert both.bundle_bytes == 90
    assert both.peak(False) == encoder.peak_bytes + 200
    assert (both.features, both.epochs) == (encoder.features, encoder.epochs)


def test_a_timeline_separates_steps_from_gaps(monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 5.0, 6.0, 7.0, 20.0, 22.0, 25.0, 27.0])
    monkeypatch.setattr(
        "clinadapt.study.planning.trial_runs.time.perf_counter", lambda: next(clock)
    )
    timeline = Timeline()
    timeline("label: encode", 1, 1)
    for steps in (3, 2):
        for epoch in (1, 2):
            for step in range(steps):
                timeline(f"label: epoch {epoch}/2", step + 1, steps)
    trial = Trial(3, 5, None, 40.0, timeline.phases, {})
    assert trial.step_seconds(0) == [[1, 1], [1, 1]]
    assert trial.step_seconds(1) == [[2], [2]]
    assert trial.between_seconds(0) == pytest.approx(5 - 2 - 1)  # the gap holds a step
    assert trial.between_seconds(1) == pytest.approx(25 - 22 - 2)
    assert trial.fixed == pytest.approx(40 - (7 + 1) - (7 + 2))  # so does the time before the first


# ---------------------------------------------------------------- budgets


def budget(forecasts, **limits):
    return Budget(Plan("", None, {f.configuration: f for f in forecasts}), **limits)


def test_features_are_paid_for_once():
    forecasts = [
        forecast("x", **FROZEN),
        forecast("y", **FROZEN),
        forecast("z", **{**FROZEN, "features": "b"}),
    ]
    spending = budget(forecasts)
    assert [spending.spend(name) for name in "xyxz"] == [True, False, False, True]


def test_hours_skip_what_does_not_fit_and_say_how_long_it_would_take():
    spending = budget(
        [forecast("short"), forecast("long", phases=(Phase(2, 3600.0, 0.0),))], hours=1.5
    )
    assert spending.refusal("short", spent=0) is None
    reason = spending.refusal("long", spent=600)
    assert reason == "predicted to take 2 h 00 min; 1 h 20 min of the 1.5 hours are left"
    assert spending.refusal("short", spent=5395) is not None
    assert spending.refusal("short", spent=5389) is None


def test_memory_skips_what_does_not_fit():
    spending = budget(
        [forecast("x", memory_savings=("embeddings frozen",), **FROZEN)], memory=int(1.5 * GB)
    )
    assert spending.refusal("x", 0) == (
        "predicted to need 2 GB with embeddings frozen; the limit is 1.5 GB"
    )
    spending.spend("x")  # somebody computed the features
    assert spending.refusal("x", 0) is None


def test_a_configuration_that_cannot_run_is_left_to_the_study_to_try():
    forecasts = [Forecast("absent", reason="no"), Forecast("big", reason="too big", fits=False)]
    spending = budget(forecasts, hours=1.0)
    assert spending.refusal("absent", 0) is None
    assert spending.refusal("big", 0) == "too big"


# ---------------------------------------------------------------- a real study


@pytest.fixture(scope="module")
def study(small_notes_synthetic, study_design, tmp_path_factory):
    return Study(small_notes_synthetic, study_design, tmp_path_factory.mktemp("plan") / "out")


@pytest.fixture(scope="module")
def made(study):
    return make_plan(study)


def test_samples_are_nested_and_of_every_class(study, tmp_path):
    prober = Prober(study, tmp_path)
    small, large = prober.sample(24), prober.sample(48)
    for name, rows in study.split.parts().items():
        assert set(small[name]) <= set(large[name]) <= set(rows)
        assert study.notes.labels.matrix[small[name]].any(axis=0).all()
    assert len(small["train"]) == 24
    every = prober.sample(prober.train)
    assert {name: len(rows) for name, rows in every.items()} == {
        name: len(rows) for name, rows in study.split.parts().items()
    }


def test_a_plan_of_a_study(study, made):
    lines = schedule(study, made)
    assert [line.configuration for line in lines] == [run.configuration.label for run in study.runs]
    absent = [line for line in lines if line.status == "skip"]
    assert {line.configuration for line in absent} == {"drbert · none · frozen"}
    assert "hf download Dr-BERT/DrBERT-7GB" in absent[0].reason
    running = [line for line in lines if line.status == "run"]
    assert len(running) == 13
    assert all(line.seconds > 0 and line.peak_memory_bytes > 10**8 for line in running)
    # Two split layers (frozen, top 1 tuned): two passes in all, computed by the first runs.
    paying = [line.configuration for line in running if line.features_seconds > 0]
    assert paying == [f"bert · none · {regime} (epochs=2)" for regime in ("frozen", "top 1 tuned")]
    tokens = {f.features: f.features_bytes for f in made.forecasts.values() if f.features}
    assert len(tokens) == 2
    assert len(set(tokens.values())) == 1
    bundles = max(f.bundle_bytes for f in made.forecasts.values())
    assert disk_bytes(made, lines) >= sum(tokens.values()) + 2 * bundles
    assert not study.out.exists()  # planning writes nothing there


def test_the_plan_is_kept_and_read_again(study, made, tmp_path):
    same = Study(study.notes, study.design.model_dump(), tmp_path)
    assert read_plan(same) is None
    made.save(tmp_path)
    assert read_plan(same) == made
    assert not any(text in (tmp_path / "plan.json").read_text() for text in study.notes.texts)
    limited = Study(study.notes, study.design.model_dump(), tmp_path, memory=GB)
    assert read_plan(limited) is None  # made without that limit


def test_a_plan_of_another_format_is_made_again(study, made, tmp_path):
    same = Study(study.notes, study.design.model_dump(), tmp_path)
    before = json.loads(made.save(tmp_path).read_text())
    # As 0.1 wrote it, with what forecasts of other machines needed.
    extra = {"weights_bytes": 5, "epoch_bytes": 7.0, "bf16": True, "footprint": None}
    before |= {"format": 1, "machine": "this machine"}
    before["forecasts"] = {key: entry | extra for key, entry in before["forecasts"].items()}
    (tmp_path / "plan.json").write_text(json.dumps(before))
    assert read_plan(same) is None


def test_every_run_of_a_plan_as_json(study, made):
    written = json.loads(json.dumps(schedule_as_json(study, made)))
    lines = schedule(study, made)
    assert [run["configuration"] for run in written["runs"]] == [
        line.configuration for line in lines
    ]
    assert written["seconds"] == pytest.approx(sum(run["seconds"] for run in written["runs"]))
    assert (written["disk_bytes"], written["hours"]) == (disk_bytes(made, lines), None)


def test_a_planned_study_ends_the_same_and_records_predicted_costs(
    made, small_notes_synthetic, study_design, tmp_path, finished_study
):
    made.save(tmp_path / "out")
    Study(small_notes_synthetic, study_design, tmp_path / "out").run()
    assert comparable(tmp_path / "out") == comparable(finished_study)
    for result in results_of(tmp_path / "out").values():
        if result["status"] == "done":
            predicted = result["cost"]["predicted"]
            assert predicted["seconds_of_epochs_run"] <= predicted["seconds"] + 1e-9
            # Of a real magnitude; how near is measured, by a benchmark, on a quiet machine.
            assert 0.05 < predicted["seconds_of_epochs_run"] / result["cost"]["seconds"] < 20
            assert 0.5 < predicted["peak_memory_bytes"] / result["cost"]["peak_memory_bytes"] < 2
            assert result["cost"]["memory_savings"] == []
    assert all(
        "predicted" not in result.get("cost", {}) for result in results_of(finished_study).values()
    )


def test_a_study_within_hours_skips_and_resumes_later(small_notes, tmp_path):
    design = {
        "name": "x",
        "resamples": 100,
        "configurations": [{"model": ["tfidf-logistic", "tfidf-mlp"]}],
    }
    tight = Study(small_notes, design, tmp_path, hours=1e-6)
    board = tight.run().leaderboard
    assert board["status"].to_list() == ["skipped", "skipped"]
    assert board["reason"].str.contains("predicted to take").all()
    again = Study(small_notes, design, tmp_path, hours=1.0).run().leaderboard
    assert again["status"].to_list() == ["done", "done"]


def test_a_study_within_memory_names_its_savings(small_notes, tmp_path, encoder_folders):
    design = {
        "name": "x",
        "resamples": 100,
        "max_tokens": 24,
        "configurations": [
            {"model": "tfidf-logistic"},
            {"model": "pretrained", "encoder": str(encoder_folders["bert"]),
             "tuned_layers": "all", "epochs": 1},
        ],
    }  # fmt: skip
    board = Study(small_notes, design, tmp_path / "no", memory=10**7).run().leaderboard
    assert board["status"].to_list() == ["skipped", "skipped"]
    reasons = dict(zip(board["configuration"], board["reason"], strict=True))
    assert "the limit is 10 MB" in reasons["TF-IDF + logistic regression"]
    assert "training needs at least" in reasons["bert · none · all tuned (epochs=1)"]
    result = json.loads(next(tmp_path.glob("no/cells/*/result.json")).read_text())
    assert result["status"] == "skipped"


def test_a_stacked_configuration_is_planned_as_its_two_parts(
    small_notes, tmp_path, encoder_folders
):
    shared = {"encoder": str(encoder_folders["bert"]), "max_tokens": 16}
    configurations = [
        {"model": "pretrained", **shared, "epochs": 3},
        {"model": "stacked", **shared, "encoder_options": {"epochs": 3}},
    ]
    study = Study(
        small_notes,
        {"name": "x", "resamples": 100, "configurations": configurations},
        tmp_path / "s",
    )
    plan = make_plan(study)
    alone, both = (
        plan.forecasts[study.folders.configuration_id(run.configuration)] for run in study.runs
    )
    assert both.reason is None
    assert (both.configuration, both.features, both.epochs) == (
        study.runs[1].configuration.label,
        alone.features,
        3,
    )
    assert both.bundle_bytes > alone.bundle_bytes
    plan.save(study.out)
    study.run()
    results = {found["axes"]["model"]: found for found in results_of(study.out).values()}
    stacked = results["stacked"]
    assert stacked["status"] == "done"
    assert (
        stacked["cost"]["encoded_sequences"] == 0
    )  # the configuration before computed the features
    assert stacked["cost"]["predicted"]["epochs"] == 3
    assert stacked["cost"]["disk_bytes"] == pytest.approx(both.bundle_bytes, rel=0.3)
