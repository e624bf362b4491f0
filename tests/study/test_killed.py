"""A study that is killed at random moments and started again ends as one that was left alone."""

import json
import os
import random
import shutil
import signal

from forked import CONTEXT
from studies import SMALL, comparable, design

from clinadapt import Study
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.synthetic.generator import generate


def study(plan, out, kill_at, answer):
    """Run a study in this process, which kills itself when it tells its progress so manieth."""
    told = 0

    def progress(stage, done, total):
        nonlocal told
        told += 1
        if told == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    notes = read_notes(generate(**SMALL), Columns(id="id", group="patient"))
    Study(notes, plan, out).run(progress)
    answer.send(told)


def run(plan, out, kill_at=0):
    """Run it in a process, and return the exit code and how often it told its progress."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    with ours:
        process = CONTEXT.Process(target=study, args=(plan, out, kill_at, theirs))
        process.start()
        theirs.close()
        process.join()
        return process.exitcode, ours.recv() if process.exitcode == 0 else None


def test_killed_at_random_moments_it_ends_the_same(tmp_path, encoder_folders):
    plan = design(encoder_folders["bert"], seeds=[0])
    plan["configurations"][1]["model"] = "transformer"
    plan["configurations"][2]["adapter"] = "bottleneck"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    code, told = run(plan, whole)
    assert code == 0

    chance = random.Random(0)
    finished_at: dict[str, float] = {}
    kills = 0
    while kills < 10:
        code, _ = run(plan, killed, chance.randint(1, told // 3))
        for path in killed.glob("cells/*/result.json"):
            if json.loads(path.read_text())["status"] == "done":
                finished_at.setdefault(path.parent.name, path.stat().st_mtime)
                # A finished run is never written, so never fitted, again.
                assert path.stat().st_mtime == finished_at[path.parent.name]
        if code == 0:  # done early: begin again with a new folder
            assert comparable(killed) == comparable(whole)
            shutil.rmtree(killed)
            finished_at.clear()
        else:
            assert code == -signal.SIGKILL
            kills += 1
    code, _ = run(plan, killed)
    assert code == 0
    assert comparable(killed) == comparable(whole)
