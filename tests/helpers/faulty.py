"""A subject with the fault that a check looks for, and one without, by the check's code."""

from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from clinadapt.data.columns import Columns
from clinadapt.data.notes import Notes, read_notes
from clinadapt.data.prediction_tables import PREDICTIONS
from clinadapt.data.split import Split, make_split
from clinadapt.data.synthetic.generator import generate
from clinadapt.study.checks.contract import Subject
from clinadapt.study.read_results import LeaderboardRow, RunResult, StudyResults

COLUMNS = Columns(id="id", group="patient", date="date")


@cache
def table(notes=400, patients=160, positive=160, seed=0):
    """Synthetic notes with a date that says nothing."""
    made = generate(notes, patients, positive, seed=seed)
    days = np.random.default_rng(seed).integers(0, 900, notes).tolist()
    return made.with_columns(pl.Series("date", [date(2020, 1, 1) + timedelta(day) for day in days]))


def subject(frame: pl.DataFrame, split: Split | None = None) -> Subject:
    """The notes of a table, with their own split unless one is given."""
    notes = read_notes(frame, COLUMNS)
    return Subject(notes, split or make_split(notes))


@cache
def sound_subject() -> Subject:
    """Notes without a fault, whose duplicates are counted once."""
    return subject(table())


def _positive(frame):
    return (frame["label"] == "positive").to_list()


def _with_texts(frame, change):
    texts = [
        change(text, positive)
        for text, positive in zip(frame["text"], _positive(frame), strict=True)
    ]
    return frame.with_columns(pl.Series("text", texts))


def telltale(frame):
    return _with_texts(
        frame,
        lambda text, positive: f"{text} Codage: pris en charge au secteur" if positive else text,
    )


def by_date(frame):
    early, late = date(2019, 1, 1), date(2022, 1, 1)
    days = [
        (late if positive else early) + timedelta(at % 300)
        for at, positive in enumerate(_positive(frame))
    ]
    return frame.with_columns(pl.Series("date", days))


def by_length(frame):
    filler = " examen sans particularité notable ce jour" * 40
    return _with_texts(frame, lambda text, positive: text + filler if positive else text)


def by_template(frame):
    """Two templates of the positive notes and two of the others, so that no word gives it away."""
    openings = {
        True: ["Vu ce jour pour avis du service", "Patient revu ce matin dans le service"],
        False: ["Vu ce matin pour avis du service", "Patient revu ce jour dans le service"],
    }
    return frame.with_columns(
        pl.Series(
            "text",
            [
                f"{openings[positive][at % 2]}. {text}"
                for at, (text, positive) in enumerate(
                    zip(frame["text"], _positive(frame), strict=True)
                )
            ],
        )
    )


def in_time(frame):
    """Patients one after the other in time, and the last ones the test part."""
    order = frame.sort("patient")
    days = [date(2020, 1, 1) + timedelta(at) for at in range(len(order))]
    dated = order.with_columns(pl.Series("date", days))
    notes = read_notes(dated, COLUMNS)
    first = np.unique(notes.clusters, return_index=True)[1]
    cut, later = first[int(0.6 * len(first))], first[int(0.7 * len(first))]
    rows = np.arange(len(notes))
    return Subject(notes, Split(rows[:cut], rows[cut:later], rows[later:]))


def copied(frame):
    """Some notes of the test part have the text of a training note."""
    sound = sound_subject()
    texts = frame["text"].to_list()
    for test, train in zip(sound.split.test[:12], sound.split.train[:12], strict=True):
        texts[test] = texts[train]
    return replace(sound, notes=replace(sound.notes, texts=texts))


# ---------------------------------------------------------------- finished studies


def row(name, seconds, validation=0.8, model="tfidf-logistic", best=False):
    """A line of a leaderboard."""
    empty = dict.fromkeys(LeaderboardRow.__annotations__)
    return LeaderboardRow(
        **{
            **empty,
            "configuration": name,
            "configuration_id": name,
            "status": "done",
            "model": model,
            "best": best,
            "validation": validation,
            "encode_seconds": 0.0,
            "fit_seconds": seconds,
        }
    )


def run(name, folder=Path(), training=(), decisions=None, **settings):
    """The only run of a configuration."""
    empty = dict.fromkeys(RunResult.__annotations__)
    given = {
        "folder": folder,
        "id": name,
        "configuration": name,
        "configuration_id": name,
        "seed": 0,
        "status": "done",
        "reason": None,
        "axes": {"model": "transformer"},
        "settings": settings,
        "threshold": {},
        "metrics": {},
        "training": list(training),
        "truncated": {},
        "energy": None,
        "decisions": decisions,
    }
    return RunResult(**{**empty, **given})


def results(rows=(), runs=(), pairs=(), useful=True):
    """A study's results; its first run is handed over."""
    chosen = {"run": runs[0].id, "configuration": runs[0].configuration} if runs else None
    about = {
        "task": "binary",
        "classes": ["n", "p"],
        "best": chosen,
        "recommended": None,
        "data": {"duplicates": {"exact_across_parts": 0, "near_across_parts": 0}},
    }
    evidence = {
        "pairs": list(pairs),
        "configurations": [
            {"configuration_id": one.configuration_id, "useful": useful} for one in runs
        ],
    }
    return StudyResults(about, list(rows), list(runs), evidence, None, None, None, None)


def doubting(folder, notes, flipped, useful=True, seed=0):
    """Results of a run whose answers are right but for some labels that are flipped."""
    generator = np.random.default_rng(seed)
    truth = generator.random(notes) < 0.4
    probability = np.where(truth, generator.beta(6, 2, notes), generator.beta(2, 6, notes))
    label = truth ^ (np.arange(notes) < flipped)
    pl.DataFrame(
        {
            "id": [f"note {number}" for number in range(notes)],
            "part": "validation",
            "label": np.where(label, "p", "n"),
            "prediction": np.where(probability > 0.5, "p", "n"),
            "prob_n": 1 - probability,
            "prob_p": probability,
        }
    ).write_parquet(folder / PREDICTIONS)
    return results([row("model", 1.0)], [run("model", folder)], useful=useful)


def pair(first, second, value, half=0.02, different=False):
    """A comparison with the best word counts."""
    return {
        "first": first,
        "second": second,
        "questions": ["tfidf"],
        "value": value,
        "low": value - half,
        "high": value + half,
        "different": different,
    }


def compared(value, different):
    """A slow configuration compared with word counts."""
    rows = [row("encoder", 100.0, model="pretrained"), row("words", 2.0)]
    return results(rows, [run("words")], [pair("encoder", "words", value, different=different)])


def trained(*scores, epochs):
    """A run that is trained for some epochs, with these scores on validation."""
    history = [{"loss": 1.0, "validation_score": one, "validation_loss": 1.0} for one in scores]
    return results([row("net", 1.0, best=True)], [run("net", training=history, epochs=epochs)])


def examples(code: str, folder: Path) -> tuple[Subject, Subject]:
    """Return a subject with the fault of a check, and a subject without it."""
    sound_table, sound = table(), sound_subject()
    of_study = {
        "CLA101": lambda: (doubting(folder / "a", 1000, 150), doubting(folder / "b", 1000, 0)),
        "CLA102": lambda: (compared(0.001, False), compared(0.08, True)),
        "CLA103": lambda: (trained(0.5, 0.6, 0.7, epochs=3), trained(0.5, 0.7, 0.6, epochs=3)),
    }
    if code in of_study:
        for name in "ab":
            (folder / name).mkdir()
        faulty, right = of_study[code]()
        return replace(sound, results=faulty), replace(sound, results=right)
    of_notes = {
        "CLA001": lambda: (subject(telltale(sound_table)), sound),
        "CLA002": lambda: (subject(by_date(sound_table)), sound),
        "CLA003": lambda: (subject(sound_table.sort("label")), sound),
        "CLA004": lambda: (subject(by_length(sound_table)), sound),
        "CLA005": lambda: (subject(by_template(sound_table)), sound),
        "CLA006": lambda: (sound, in_time(sound_table)),
        "CLA007": lambda: (copied(sound_table), sound),
        "CLA008": lambda: (subject(table(positive=12)), sound),
    }
    return of_notes[code]()


def labelled(*names: str) -> Notes:
    """Short notes with the given labels, each of its own patient."""
    return read_notes(
        pl.DataFrame({"text": [f"note {at}" for at in range(len(names))], "label": names}),
        minimum_per_class=1,
    )
