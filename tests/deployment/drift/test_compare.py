"""Drift: measures checked by hand and with other packages, false alarms, simulated changes."""

import json
import re
from collections import Counter

import numpy as np
import polars as pl
import pytest
from scipy import stats
from typer.testing import CliRunner

from clinadapt import NoteClassifier, ScratchModel, TfidfLogistic, load
from clinadapt.cli.main import app
from clinadapt.core.errors import InputError
from clinadapt.data.labels import from_single
from clinadapt.data.synthetic.generator import generate
from clinadapt.deployment.drift.compare import _finding, _Quantity, find_drift
from clinadapt.deployment.drift.messages import headline, verdict
from clinadapt.evaluation.binned_counts import BinnedCounts, compare, count, count_values, edges_of
from clinadapt.models.bundle.note_statistics import count_words, general_words, readings, words_of
from clinadapt.models.bundle.reference import Reference

ALARMS = ("moderate", "large")


def independent(counts):
    free = max(1, sum(value > 0 for value in counts) - 1)
    return BinnedCounts(counts=counts, design_effect=1.0, degrees=float(free))


# ---------------------------------------------------------------- measures


def test_independent_counts_give_pearsons_chi_squared():
    one, other = [30, 50, 20, 0], [70, 40, 60, 30]
    before = independent(one).model_copy(update={"degrees": 3.0})  # of the bins that both use
    found = compare(before, independent(other))
    expected = stats.chi2_contingency([one, other], correction=False)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.psi_by_chance == pytest.approx(3 * (1 / 100 + 1 / 200))


def test_the_stability_index_by_hand():
    one, other = [50, 30, 20], [20, 30, 50]
    found = compare(independent(one), independent(other))
    assert found.psi == pytest.approx(2 * 0.3 * np.log(2.5))
    alike = compare(independent(one), independent(one))
    assert (alike.p, alike.psi) == (1.0, 0.0)


def test_design_effect_of_copies_is_their_number():
    generator = np.random.default_rng(0)
    table = generator.multinomial(1, [0.2, 0.3, 0.5], size=4000).astype(float)
    single, fourfold = count(table), count(4 * table)
    assert single.design_effect == pytest.approx(1, abs=0.05)
    assert single.degrees == pytest.approx(2, abs=0.05)
    # Four identical notes of a patient count as one.
    assert fourfold.design_effect == pytest.approx(4, abs=0.1)
    assert fourfold.counts == [4 * value for value in single.counts]


def test_both_ways_to_compute_the_product_agree():
    table = np.random.default_rng(1).poisson(2.0, size=(30, 29)).astype(float)
    more_bins = np.column_stack([table, np.zeros((30, 40))])  # empty ones do not count
    wide = np.column_stack([table, table[::-1]])
    assert count(more_bins).degrees == pytest.approx(count(table).degrees)
    shares = wide.sum(axis=0) / wide.sum()
    left = (wide - wide.sum(axis=1, keepdims=True) * shares) / wide.sum()
    covariance = left.T @ left * 30 / 29 / shares[:, None]  # D⁻¹ V
    trace = np.trace(covariance)
    found = count(wide)
    assert found.design_effect == pytest.approx(max(1, trace * wide.sum() / 57))
    assert found.degrees == pytest.approx(trace**2 / np.trace(covariance @ covariance))


@pytest.mark.parametrize(("bins", "tokens"), [(10, 1), (100, 40)], ids=["notes", "words"])
def test_notes_of_one_source_differ_significantly_in_one_of_twenty_cases(bins, tokens):
    """Different patients of four notes each: notes in ten bins, and words of notes."""
    generator = np.random.default_rng(2)
    base = generator.dirichlet(np.full(bins, 2.0))

    def drawn(patients):
        own = generator.dirichlet(8 * base + 1e-3, size=patients)
        return count(generator.multinomial(4 * tokens, own).astype(float))

    pairs = [(drawn(80), drawn(120)) for _ in range(300)]
    significant = np.array([compare(*pair).p < 0.05 for pair in pairs])
    assert 0.01 <= significant.mean() <= 0.08
    # If they are treated as independent, notes of one patient raise more false alarms, and words
    # of one note many.
    naive = [compare(*(independent(side.counts) for side in pair)).p < 0.05 for pair in pairs]
    assert np.mean(naive) > (0.1 if tokens == 1 else 0.9)


def test_bins_hold_a_tenth_each_and_edges_are_unique():
    edges = edges_of(np.arange(1000.0))
    counted = count_values(np.arange(1000.0), np.arange(1000), edges)
    assert counted.counts == [100] * 10
    # All zero at training, as for unknown tokens: later values have a separate bin.
    assert edges_of(np.zeros(50)) == [0.0]
    now = count_values(np.array([0, 0.1, 0.2]), np.arange(3), [0.0])
    assert now.counts == [1, 2]
    many_zeros = np.r_[np.zeros(80), np.arange(1, 21)]
    assert count_values(many_zeros, np.arange(100), edges_of(many_zeros)).counts[0] == 80


def test_only_general_words_are_counted():
    texts = [f"patient Dupont{n} vu le 12/03, fièvre 39 {'rare' * (n < 5)}" for n in range(100)]
    assert general_words(texts) == ["fièvre", "le", "patient", "vu"]
    assert words_of("l'ECG n°12 du 3") == ["ecg", "du"]
    table = count_words(["fièvre fièvre toux", "39"], ["fièvre"])
    assert table.tolist() == [[2, 1], [0, 0]]


# ---------------------------------------------------------------- bundles and new notes


@pytest.fixture(scope="module")
def pool():
    return generate(n_notes=1500, n_patients=400, n_positive=560)


@pytest.fixture(scope="module")
def parts(pool):
    """Notes to train on, and new notes of other patients."""
    patients = pool["patient"].unique().sort().shuffle(seed=0)
    fitted = pool.filter(pl.col("patient").is_in(patients[:250].implode()))
    return fitted, pool.filter(~pl.col("patient").is_in(patients[:250].implode()))


@pytest.fixture(scope="module")
def bundle(parts, tmp_path_factory):
    notes, _ = parts
    classifier = NoteClassifier(validation_fraction=0.3)
    classifier.fit(notes["text"].to_list(), notes["label"].to_list(), notes["patient"].to_list())
    return classifier.save(tmp_path_factory.mktemp("drift") / "bundle")


def test_the_reference_contains_counts_only(bundle, parts):
    content = json.loads((bundle / "reference.json").read_text())
    assert Reference.read(bundle / "reference.json").model_dump() == content
    assert sum(content["readings"]["length"]["counted"]["counts"]) == content["notes"]
    assert set(content["readings"]) == {"length", "unknown_words"}
    assert content["performance"]["f1"]["low"] < content["performance"]["f1"]["high"]
    holding = Counter(word for text in parts[0]["text"] for word in set(words_of(text)))
    assert min(holding[word] for word in content["words"]["words"]) >= 20


def test_other_models_have_other_readings(parts):
    texts = parts[0]["text"].to_list()[:60]
    labels = parts[0]["label"].to_list()[:60]
    model = ScratchModel(epochs=1, vocabulary=200, max_tokens=16)
    classifier = NoteClassifier(model).fit(texts, labels)
    values = readings(classifier.model_, ["patient admis", "patient 日本"])
    assert set(values) == {"length", "tokens_per_word", "unknown_tokens"}
    assert values["length"].tolist() == [2, 2]
    assert values["unknown_tokens"][0] == 0 < values["unknown_tokens"][1]
    foreign = find_drift(classifier, ["日本 語 の 文"] * 60)
    unknown = next(one for one in foreign.findings if one.name == "unknown_tokens")
    assert unknown.verdict == "large"


def test_notes_of_the_same_source_seldom_raise_an_alarm(pool):
    """Train and compare with new patients, twenty times."""
    generator = np.random.default_rng(3)
    patients, alarms, significant = pool["patient"].unique().sort().to_numpy(), 0, 0
    for _ in range(20):
        shuffled = generator.permutation(patients)
        old, new = (
            pool.filter(pl.col("patient").is_in(part.tolist()))
            for part in (shuffled[:200], shuffled[200:])
        )
        classifier = NoteClassifier(TfidfLogistic(words=1), validation_fraction=0.3)
        classifier.fit(old["text"].to_list(), old["label"].to_list(), old["patient"].to_list())
        groups = new["patient"].rank("dense").to_numpy().astype(np.int64)
        drift = find_drift(classifier, new["text"].to_list(), groups)
        alarms += drift.drifted
        significant += any(one.p < 0.05 for one in drift.findings)
    # One is expected; the probability of more than four is one in four hundred.
    assert significant <= 4
    assert alarms <= significant


def test_a_refitted_model_knows_the_words_of_its_validation_notes(pool):
    """Their share of unknown words is zero, so it is not compared with that of new notes."""
    texts, labels = pool["text"].to_list(), pool["label"].to_list()
    for refit, expected in ((False, {"length", "unknown_words"}), (True, {"length"})):
        classifier = NoteClassifier(TfidfLogistic(words=1, refit=refit), validation_fraction=0.3)
        classifier.fit(texts[:400], labels[:400])
        assert set(classifier.reference_.readings) == expected
        assert not find_drift(classifier, texts[400:]).drifted


SIMULATED = {
    "longer": (lambda text: text + " " + text, "length"),
    "wrong encoding": (
        lambda text: text.encode().decode("latin-1"),
        "unknown_words",
    ),
    "other words": (lambda text: re.sub(r"\b(de|le|la|et)\b", "von der", text), "words"),
}


@pytest.mark.parametrize("change", SIMULATED)
def test_simulated_drift_is_found(bundle, parts, change):
    alter, name = SIMULATED[change]
    _, new = parts
    drift = find_drift(load(bundle), [alter(text) for text in new["text"]])
    assert name in [one.name for one in drift.findings if one.verdict in ALARMS]
    assert drift.drifted
    assert headline(drift).startswith("Drift: ")


def test_more_cases_change_what_is_predicted(bundle, parts):
    _, new = parts
    cases = new.filter(pl.col("label") == "positive")
    drift = find_drift(load(bundle), cases["text"].to_list())
    scores = [one for one in drift.findings if one.kind == "scores"]
    assert scores[0].verdict in ALARMS
    assert scores[0].now > scores[0].before


def test_labels_of_new_notes(bundle, parts):
    _, new = parts
    classifier, texts = load(bundle), new["text"].to_list()
    labels = from_single(new["label"].to_list())
    wrong = from_single(new["label"].to_list()[::-1])
    drift = find_drift(classifier, texts, labels=labels)
    by_name = {one.name: one for one in drift.performance}
    assert set(by_name) == {"f1", "auroc", "brier"}
    f1 = by_name["f1"]
    assert f1.low < f1.difference < f1.high
    assert f1.difference == pytest.approx(f1.now.value - f1.before.value)
    worse = {one.name: one for one in find_drift(classifier, texts, labels=wrong).performance}
    assert worse["auroc"].verdict == "large"
    assert not worse["auroc"].better
    assert worse["brier"].verdict in ALARMS
    assert verdict(worse["auroc"]) == "much worse"


@pytest.mark.parametrize(
    ("now", "verdict"), [(0.5, "none"), (0.46, "slight"), (0.4, "moderate"), (0.3, "large")]
)
def test_a_share_of_a_class_matters_from_5_notes_in_100_on(now, verdict):
    def classes(share):
        return independent([round(100_000 * (1 - share)), round(100_000 * share)])

    one = _Quantity("positive", "classes", [], classes(0.5), classes(now), (0.5, now))
    compared = compare(one.before, one.now)
    assert _finding(one, compared, compared.p).verdict == verdict


def test_too_few_notes_and_no_reference(bundle, parts):
    with pytest.raises(InputError, match="at least 30 notes, got 2"):
        find_drift(load(bundle), ["patient", "fièvre"])
    classifier = load(bundle)
    classifier.reference_ = None
    with pytest.raises(InputError, match="contains no counts"):
        find_drift(classifier, parts[1]["text"].to_list())


# ---------------------------------------------------------------- the command


def run(bundle, table, folder, *options):
    table.write_parquet(folder / "new.parquet")
    out = folder / "drift.html"
    command = ["drift", str(bundle), str(folder / "new.parquet"), "--out", str(out)]
    done = CliRunner().invoke(app, [*command, "--group", "patient", *options])
    return done, out


def test_exit_code_page_and_numbers(bundle, parts, tmp_path):
    _, new = parts
    done, out = run(bundle, new, tmp_path, "--label", "label")
    assert done.exit_code == 0, done.output
    assert "No drift" in done.output
    numbers = json.loads(out.with_suffix(".json").read_text())
    assert numbers["drifted"] is False
    assert numbers["groups"] == new["patient"].n_unique()
    assert {one["name"] for one in numbers["performance"]} == {"f1", "auroc", "brier"}

    longer = new.with_columns(pl.col("text") + " " + pl.col("text"))
    done, out = run(bundle, longer, tmp_path)
    assert done.exit_code == 3, done.output
    assert "words per note" in done.output
    page = out.read_text(encoding="utf-8")
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "strong drift" in page
    written = page + out.with_suffix(".json").read_text(encoding="utf-8")
    for text in longer["text"]:
        assert " ".join(text.split()[:4]) not in written


def test_errors_are_reported(bundle, parts, tmp_path):
    _, new = parts
    unknown = new.with_columns(pl.col("label") + "?")
    done, _ = run(bundle, unknown, tmp_path, "--label", "label")
    assert isinstance(done.exception, InputError)
    assert "2 label(s) unknown to the bundle" in str(done.exception)
    done, _ = run(bundle, new, tmp_path, "--label", "nothing")
    assert "no column 'nothing'" in str(done.exception)
    done, _ = run(bundle, new, tmp_path, "--out", "drift.txt")
    assert r"to end in .html" in str(done.exception)


def test_scores_are_compared_with_the_test_scores_of_a_study(finished_study, small_table, tmp_path):
    bundle = finished_study / "recommended"
    if not bundle.is_dir():
        bundle = finished_study / "best"
    done, out = run(bundle, small_table, tmp_path, "--label", "label")
    assert done.exit_code in (0, 3), done.output
    numbers = json.loads(out.with_suffix(".json").read_text())
    assert numbers["measured_on"] == "test"
    record = json.loads((bundle / "bundle.json").read_text())
    for one in numbers["performance"]:
        assert one["before"]["value"] == record["provenance"]["metrics"][one["name"]]["value"]
    assert numbers["synthetic"]
