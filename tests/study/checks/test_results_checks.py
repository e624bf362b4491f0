"""Checks of finished studies: which configuration is the slow one, and what an edge is."""

from dataclasses import replace

import pytest
from faulty import compared, pair, results, row, run, trained

from clinadapt.study.checks.search_edge import at_the_edge
from clinadapt.study.checks.slower_than_tfidf import slower_and_no_better


class Of:
    """A subject of which only the results matter."""

    def __init__(self, study):
        self.results = study


def test_the_slow_one_may_be_the_second_of_the_pair():
    study = compared(0.0, False)
    turned = {**study.evidence, "pairs": [pair("words", "encoder", -0.004)]}
    said = slower_and_no_better(Of(replace(study, evidence=turned)))
    assert said.startswith("encoder took 50 times as long as words")
    assert "+0.4 points [−1.6, +2.4]" in said


def _handing_over(name, study):
    return {**study.about, "best": {"run": name, "configuration": name}}


@pytest.mark.parametrize("seconds", [3.9, 2.5, 1.0])
def test_a_little_slower_is_not_slower(seconds):
    rows = [row("encoder", seconds, model="pretrained"), row("words", 2.0)]
    assert slower_and_no_better(Of(results(rows, [], [pair("encoder", "words", 0.0)]))) is None


def test_several_slow_ones_are_counted():
    rows = [row("words", 2.0), *(row(f"e{n}", 10.0 * n, model="pretrained") for n in (1, 2, 3))]
    pairs = [
        pair("e1", "words", 0.0),
        pair("e2", "words", -0.1),
        pair("e3", "words", 0.3, 0.1, True),
    ]
    said = slower_and_no_better(Of(results(rows, [], pairs)))
    assert said.startswith("2 configurations")
    assert "the slowest, e2, took 10 times" in said


def test_without_word_counts_nothing_is_compared():
    rows = [row("a", 100.0, model="pretrained"), row("b", 2.0, model="transformer")]
    assert slower_and_no_better(Of(results(rows, [], [pair("a", "b", 0.0)]))) is None


def test_one_run_of_many_at_its_last_epoch_is_no_finding():
    study = trained(0.5, 0.7, 0.6, epochs=3)
    late = [{"validation_score": 0.5 + 0.1 * n, "validation_loss": 1.0} for n in range(3)]
    one = replace(study, runs=[*study.runs, run("late", training=late, epochs=3)])
    assert at_the_edge(Of(one)) is None
    alone = replace(one, runs=[run("words"), one.runs[1]], about=_handing_over("words", one))
    assert at_the_edge(Of(alone)) is None
    two = replace(one, runs=[*one.runs, run("later", training=late, epochs=3)])
    assert at_the_edge(Of(two)).startswith("2 of the 3 runs")


def test_training_that_stopped_before_its_last_epoch_is_no_finding():
    assert at_the_edge(Of(trained(0.5, 0.6, 0.7, epochs=4))) is None


def test_a_number_of_epochs_that_the_model_sets_has_no_edge():
    assert at_the_edge(Of(trained(0.5, 0.6, 0.7, epochs=None))) is None
    on_folds = run("net", decisions={"epochs": 20.0}, epochs=None)
    assert at_the_edge(Of(results([row("net", 1.0)], [on_folds]))) is None


@pytest.mark.parametrize(("mean", "found"), [(2.6, True), (2.2, False)])
def test_on_folds_the_mean_of_the_best_epochs_counts(mean, found):
    net = run("net", decisions={"epochs": mean}, epochs=3)
    assert (at_the_edge(Of(results([row("net", 1.0)], [net]))) is not None) == found


@pytest.mark.parametrize(
    ("best", "values", "found"),
    [(10.0, [0.1, 1.0, 10.0], True), (1.0, [0.1, 1.0, 10.0], False), (10.0, [1.0, 10.0], False)],
)
def test_the_best_of_three_values_may_be_the_outermost(best, values, found):
    rows = [row(f"C={value}", 1.0, best=value == best) for value in values]
    runs = [run(f"C={value}", C=value, words=2) for value in values]
    other = run("C=99", C=99.0, words=1)  # differs in another setting too
    said = at_the_edge(Of(results([*rows, row("C=99", 1.0)], [*runs, other])))
    assert (said is not None) == found
    if found:
        assert "C = 10" in said
        assert "0.1 to 10" in said
