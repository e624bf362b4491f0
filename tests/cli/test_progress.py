"""Progress of a study where there are no bars."""

import re

from clinadapt.cli import progress
from clinadapt.cli.progress import StudyProgress, progress_bar

DONE = {
    "configuration": "TF-IDF [x]",
    "seed": 0,
    "status": "done",
    "threshold": {"metric": "f1"},
    "validation_metrics": {"f1": {"value": 0.5}},
    "cost": {"fit_seconds": 1.0, "encode_seconds_spent_here": 0.5},
}
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  "


def test_lines_of_a_log_have_the_time(capsys):
    with StudyProgress(2) as display:
        display.finished(DONE)
        display.finished({**DONE, "status": "failed", "reason": "[/] too short"})
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(STAMP + r"done TF-IDF \[x\] seed 0: f1 0\.500 on validation, 1\.5 s", first)
    assert re.fullmatch(STAMP + r"failed TF-IDF \[x\] seed 0: \[/\] too short", second)


def test_reused_runs_are_told_apart(capsys):
    with StudyProgress(2) as display:
        display.finished({**DONE, "reused": True})
        display.finished(DONE)
    display.summary()
    lines = capsys.readouterr().out.splitlines()
    assert "reused TF-IDF" in lines[0]
    assert lines[-1] == "1 of 2 runs reused"
    with StudyProgress(1) as display:
        display.finished({**DONE, "reused": True})
    display.summary()
    assert "nothing was run" in capsys.readouterr().out


def test_a_new_study_says_nothing_of_reuse(capsys):
    with StudyProgress(1) as display:
        display.finished(DONE)
    display.summary()
    assert "reused" not in capsys.readouterr().out


def test_a_long_stage_is_told_now_and_then(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress_bar() as update:
        for step in range(5):
            now[0] = 31.0 * step
            update("encode", step, 10)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2  # after 62 and 124 seconds, not at every step
    assert re.fullmatch(STAMP + "encode: 2 of 10, 1 min 02 s, about 4 min 08 s left", lines[0])
