"""Scored notes that are left to a person: columns, counts, and what is refused."""

import json

import polars as pl
import pytest
from fitted_models import LABELS, TEXTS, abstaining, fitted

from clinadapt import TfidfLogistic, load
from clinadapt.cli.main import main
from clinadapt.core.errors import InputError
from clinadapt.deployment.scoring import loop
from clinadapt.deployment.scoring.job import Prediction
from clinadapt.deployment.scoring.output_layouts import is_scores
from clinadapt.evaluation.abstention import Promise


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A bundle for each task, with limits for one promise."""
    root = tmp_path_factory.mktemp("bundles")
    return {task: abstaining(task).save(root / task) for task in LABELS}


@pytest.fixture
def notes(tmp_path):
    pl.DataFrame({"text": TEXTS}).write_parquet(tmp_path / "notes.parquet")
    return str(tmp_path / "notes.parquet")


def listed(classifier, matrix):
    return [[str(c) for c in classifier.label_classes_[row]] for row in matrix]


@pytest.mark.parametrize("task", LABELS)
def test_columns_are_the_decisions_of_the_classifier(bundles, notes, tmp_path, task, monkeypatch):
    monkeypatch.setattr(loop, "NOTES_AT_ONCE", 10)
    out = tmp_path / "p.parquet"
    state = Prediction(bundles[task], [notes], out, promise=Promise()).run()
    frame, classifier = pl.read_parquet(out), load(bundles[task])
    probabilities = classifier.in_label_order(classifier.predict_proba(TEXTS))
    answered, left = classifier.abstention_.band(0.05).answer(task, probabilities)
    assert state.left == left.any(axis=1).sum() > 0
    assert frame["prediction_set"].to_list() == listed(
        classifier, probabilities >= classifier.abstention_.sets[0].least[0]
    )
    if task == "multilabel":
        assert frame["decision"].to_list() == listed(classifier, answered)
        assert frame["undecided"].to_list() == listed(classifier, left)
    else:
        decided = [None if one is None else str(one) for one in classifier.decide(TEXTS)]
        assert frame["decision"].to_list() == decided
        assert "undecided" not in frame.columns


def test_several_bundles_and_csv(bundles, notes, tmp_path):
    out = tmp_path / "p.csv"
    state = Prediction(bundles, [notes], out, promise=Promise()).run()
    frame = pl.read_csv(out)
    for column in ("binary.decision", "multiclass.prediction_set", "multilabel.undecided"):
        assert column in frame.columns
    left = frame.select(
        pl.col("binary.decision").is_null()
        | pl.col("multiclass.decision").is_null()
        | (pl.col("multilabel.undecided").fill_null("") != "")
    )
    assert state.left == left.to_series().sum()
    assert is_scores(out)  # so that another run may replace it


def test_without_a_promise_nothing_changes(bundles, notes, tmp_path):
    state = Prediction(bundles["binary"], [notes], tmp_path / "p.parquet").run()
    assert state.left == 0
    assert pl.read_parquet(tmp_path / "p.parquet").columns[:2] == ["id", "prediction"]
    assert "decision" not in pl.read_parquet(tmp_path / "p.parquet").columns


def test_what_cannot_be_is_refused_before_any_work(bundles, notes, tmp_path, tfidf_bundle):
    out = tmp_path / "p.parquet"
    with pytest.raises(InputError, match=r"binary: expected a risk of 0\.05, got 0\.1"):
        Prediction(bundles["binary"], [notes], out, promise=Promise(risk=0.1)).run()
    with pytest.raises(InputError, match="remove --meds"):
        Prediction(
            bundles["binary"], [notes], out, meds=True, subject="s", time="t", promise=Promise()
        ).run()
    with pytest.raises(InputError, match="remove --into"):
        Prediction(
            bundles["binary"], [notes], database="sqlite:///x", into="t", id="i", promise=Promise()
        ).run()
    old = fitted(TfidfLogistic(), "binary").save(tmp_path / "old")
    with pytest.raises(InputError, match="bundle of old has no reject bands"):
        Prediction(old, [notes], out, promise=Promise()).run()
    assert not out.exists()


def test_another_promise_is_another_run(bundles, notes, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "NOTES_AT_ONCE", 10)

    def stop(stage, done, total):
        if done:
            raise KeyboardInterrupt

    out = tmp_path / "p.parquet"
    with pytest.raises(KeyboardInterrupt):
        Prediction(bundles["binary"], [notes], out, promise=Promise()).run(stop)
    with pytest.raises(InputError, match="abstain"):
        Prediction(bundles["binary"], [notes], out).run()


def test_the_command_counts_what_is_left(bundles, notes, tmp_path, capsys):
    def said(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["predict", str(bundles["binary"]), notes, *arguments])
        return stop.value.code or 0, capsys.readouterr()

    out = ["--out", str(tmp_path / "p.csv")]
    code, output = said(*out, "--abstain", "--json")
    left = pl.read_csv(tmp_path / "p.csv")["decision"].null_count()
    assert left > 0
    assert (code, json.loads(output.out)["left_to_person"]) == (0, left)
    code, output = said(*out, "--abstain")
    assert f"{left} of the classified notes are left to a person" in " ".join(output.out.split())
    code, output = said(*out, "--json")
    assert json.loads(output.out)["left_to_person"] is None
    code, output = said(*out, "--risk", "0.1", "--coverage", "0.9")
    assert code == 2
    assert "--risk applies to --abstain only" in output.err
    assert "--coverage applies to --abstain only" in output.err
