import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupShuffleSplit

from clinadapt.data.synthetic.generator import LABEL_NOISE, generate

NAME = (
    r"(IC|[iI]nsuf\w*\.? (cardiaque|ventriculaire|myocardique|VG)"
    r"|[dD](.faillance|.compensation|ysfonction) cardiaque)"
)


@pytest.fixture(scope="module")
def notes() -> pl.DataFrame:
    return generate()


@pytest.mark.parametrize(
    ("n_notes", "n_patients", "n_positive"),
    [(300, 80, 107), (7, 7, 0), (7, 2, 7), (1, 1, 1)],
)
def test_counts_are_exact(n_notes, n_patients, n_positive):
    table = generate(n_notes, n_patients, n_positive)
    assert table.schema == dict.fromkeys(["id", "patient", "text", "label"], pl.String)
    assert table.height == table["id"].n_unique() == n_notes
    assert table["patient"].n_unique() == n_patients
    assert (table["label"] == "positive").sum() == n_positive
    assert set(table["label"]) <= {"positive", "negative"}


def test_defaults_are_the_paper_s_proportions(notes):
    assert notes.height == 5444
    assert notes["patient"].n_unique() == 1386
    assert (notes["label"] == "positive").sum() == 1941


def test_a_seed_gives_one_table():
    table = generate(120, 40, 50, seed=3)
    assert_frame_equal(table, generate(120, 40, 50, seed=3))
    assert set(table["text"]).isdisjoint(generate(120, 40, 50, seed=4)["text"])


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((10, 0, 3), "n_patients=0 and n_notes=10"),
        ((10, 11, 3), "n_patients=11 and n_notes=10"),
        ((10, 5, -1), "n_positive=-1 and n_notes=10"),
        ((10, 5, 11), "n_positive=11 and n_notes=10"),
    ],
)
def test_numbers_that_cannot_be_met_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        generate(*numbers)


def test_lengths_are_the_paper_s_and_vary(notes):
    n_words = np.array([len(text.split()) for text in notes["text"]])
    assert 100 <= n_words.mean() <= 114
    assert np.mean(n_words < 50) > 0.02
    assert np.mean(n_words > 200) > 0.02
    assert n_words.max() < 400


def test_no_template_is_left_open(notes):
    assert not notes["text"].str.contains(r"[{}|]|\.\.").any()


def test_typing_errors_and_elision_occur(notes):
    unaccented = ~notes["text"].str.contains("[àâçéèêîôû]")
    assert 0.1 < unaccented.mean() < 0.3
    assert not notes["text"].str.contains(r"\b[dD]e insuffisance").any()
    assert notes["text"].str.contains("d'insuffisance").any()


def test_label_varies_within_a_patient_but_follows_the_patient(notes):
    positive = notes["label"] == "positive"
    patients = notes.with_columns(positive=positive).group_by("patient")
    several = patients.agg(pl.len(), pl.col("positive").sum()).filter(pl.col("len") >= 3)
    mixed = ((several["positive"] > 0) & (several["positive"] < several["len"])).mean()
    assert mixed > 0.3
    share = positive.mean()
    excess = several["positive"] / several["len"] - share
    by_chance = share * (1 - share) * (1 / several["len"]).mean()
    assert (excess**2).mean() > 1.5 * by_chance


@pytest.mark.parametrize("name", ["insuffisance cardiaque", "FEVG", "milrinone", "galop"])
def test_words_of_cardiac_failure_occur_under_both_labels(notes, name):
    mentions = notes.with_columns(mentions=notes["text"].str.contains(name)).group_by("label")
    shares = dict(mentions.agg(pl.col("mentions").mean()).rows())
    assert min(shares.values()) > 0.05
    assert max(shares.values()) < 6 * min(shares.values())


def test_a_share_of_the_positives_never_names_it(notes):
    positive = notes.filter(pl.col("label") == "positive")["text"]
    unnamed = positive.filter(~positive.str.contains(rf"\b{NAME}\b"))
    assert 0.1 < len(unnamed) / len(positive) < 0.35


@pytest.mark.parametrize(
    ("statement", "label"),
    [
        (f"{NAME}( \\w+){{0,3}} (avérée|certaine|documentée|persistante)", "positive"),
        (f"(tableau|épisode|signes cliniques|signes francs) d'{NAME}", "positive"),
        (f"(pas d'|absence d'|aucun argument pour une ){NAME}", "negative"),
        (f"{NAME}( \\w+){{0,3}},? (exclue|infirmée)", "negative"),
    ],
)
def test_plain_statements_agree_with_the_label(notes, statement, label):
    # At most one note in ten, for LABEL_NOISE of few notes may by chance be one or two.
    matching = notes.filter(notes["text"].str.contains(rf"\b{statement}\b"))
    assert matching.height >= 10
    assert (matching["label"] == label).mean() >= 0.9


def test_label_noise_is_small():
    assert LABEL_NOISE <= 0.03


def bag_of_words_f1(table: pl.DataFrame, split_seed: int) -> float:
    text, positive = table["text"].to_numpy(), (table["label"] == "positive").to_numpy()
    split = GroupShuffleSplit(1, test_size=0.3, random_state=split_seed)
    train, test = next(split.split(text, positive, table["patient"].to_numpy()))
    bag = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    model = LogisticRegression(C=10, class_weight="balanced", max_iter=300)
    model.fit(bag.fit_transform(text[train]), positive[train])
    return f1_score(positive[test], model.predict(bag.transform(text[test])))


@pytest.mark.parametrize("split_seed", [0, 1])
def test_words_alone_tell_much_but_not_all(notes, split_seed):
    assert 0.80 <= bag_of_words_f1(notes, split_seed) <= 0.90


def test_near_duplicates_between_patients_are_rare(notes):
    sample = notes.head(2500)
    shingles = CountVectorizer(analyzer=five_grams, dtype=np.int32)
    counts = shingles.fit_transform(sample["text"].to_list())
    size = np.asarray(counts.sum(axis=1)).ravel()
    shared = (counts @ counts.T).tocoo()
    jaccard = shared.data / (size[shared.row] + size[shared.col] - shared.data)
    patient = sample["patient"].to_numpy()
    other_patient = patient[shared.row] != patient[shared.col]
    assert np.isclose(jaccard.max(), 1)  # a note and itself: the measure works
    assert np.sum(other_patient & (jaccard >= 0.5)) / 2 <= 3


def five_grams(text: str) -> set[str]:
    words = text.lower().split()
    return {" ".join(words[at : at + 5]) for at in range(len(words) - 4)}
