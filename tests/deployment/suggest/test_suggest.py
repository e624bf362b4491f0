"""What is suggested: no labelled note, none twice, no patient too often; and how it is written."""

import json
import stat

import polars as pl
import pytest

from clinadapt.core.errors import InputError, NothingDoneError
from clinadapt.deployment.suggest.suggest import LeftOut, check_suggestions, suggest

FILLER = [f"jour {n} sans plainte particuliere du malade numero {n}" for n in range(40)]


@pytest.fixture
def pool():
    """40 notes of 10 patients that the model of `tfidf_bundle` knows words of."""
    signs = ("fievre", "toux", "enfant apyretique", "enfant fievre")
    return pl.DataFrame(
        {
            "key": [f"n{n}" for n in range(40)],
            "text": [f"{signs[n % 4]} {FILLER[n]}" for n in range(40)],
            "patient": [f"p{n % 10}" for n in range(40)],
        }
    )


def ask(bundle, pool, n=100, **options):
    return suggest(bundle.folder, pool, n, **{"id": "key", "group": "patient"} | options)


@pytest.mark.parametrize("per_patient", [1, 2, 4])
def test_no_note_twice_and_no_patient_over_its_quota(tfidf_bundle, pool, per_patient):
    found = ask(tfidf_bundle, pool, per_patient=per_patient)
    assert len(found.table) == 10 * per_patient  # more were asked for than there are
    assert found.table["id"].is_unique().all()
    assert found.table["group"].value_counts()["count"].to_list() == [per_patient] * 10
    assert found.table["order"].to_list() == list(range(1, 10 * per_patient + 1))
    patient_of = dict(zip(pool["key"], pool["patient"], strict=True))
    assert [patient_of[key] for key in found.table["id"]] == found.table["group"].to_list()
    assert (found.read, found.patients, found.left_out) == (40, 10, LeftOut())


def test_same_seed_same_list_and_rows_in_another_order_change_no_count(tfidf_bundle, pool):
    first, again = (ask(tfidf_bundle, pool, 5, seed=3) for _ in range(2))
    assert first.table.equals(again.table)
    assert len(ask(tfidf_bundle, pool.reverse(), 5, seed=3).table) == 5


def test_without_patients_each_note_has_its_own(tfidf_bundle, pool):
    found = suggest(tfidf_bundle.folder, pool, 30)
    assert found.table.columns == ["order", "id", "uncertainty"]
    assert (len(found.table), found.patients) == (30, None)
    assert set(found.table["id"]) <= {str(row) for row in range(1, 41)}


def test_labelled_and_repeated_notes_are_left_out_and_counted(tfidf_bundle, pool):
    texts = pool["text"].to_list()
    labelled = pl.DataFrame(
        {
            # The same but for case and spaces; nearly the same; without a label.
            "text": [texts[0].upper() + "  ", texts[1] + " hier", texts[2]],
            "label": [1, 0, None],
        }
    )
    repeated = pl.concat([pool, pool[3:5].with_columns(key=pl.col("key") + "b")])
    study = {"data": {"columns": {"text": "text", "label": ["label"]}, "source": "gone.csv"}}
    (tfidf_bundle.folder.parent / "study.json").write_text(json.dumps(study))
    try:
        found = ask(tfidf_bundle, repeated, per_patient=9, labelled=labelled)
    finally:
        (tfidf_bundle.folder.parent / "study.json").unlink()
    assert found.labelled_known
    assert found.left_out == LeftOut(labelled=1, near_labelled=1, repeated=2)
    assert set(found.table["id"]) == set(pool["key"]) - {"n0", "n1"}
    without = ask(tfidf_bundle, pool)
    assert (without.labelled_known, without.left_out.labelled) == (False, 0)


def test_labelled_notes_count_towards_the_quota_of_their_patient(tfidf_bundle, pool, tmp_path):
    labelled = pl.DataFrame(
        {"text": ["a", "b", "c"], "label": [1, 0, 1], "patient": ["p0"] * 2 + ["p1"]}
    )
    study = {"columns": {"text": "text", "label": ["label"], "group": "patient"}, "source": "gone"}
    place = tfidf_bundle.folder.parent / "study.json"
    place.write_text(json.dumps({"data": study}))
    try:
        found = ask(tfidf_bundle, pool, per_patient=2, labelled=labelled)
    finally:
        place.unlink()
    counts = dict(found.table["group"].value_counts().iter_rows())
    assert counts == {"p1": 1, **{f"p{n}": 2 for n in range(2, 10)}}
    assert (found.left_out.of_labelled_patient, found.patients) == (4, 9)


def test_notes_that_the_model_cannot_read_or_that_are_too_many_are_counted(tfidf_bundle, pool):
    strange = pl.DataFrame({"key": ["x"], "text": ["zzz"], "patient": ["p99"]})
    found = ask(tfidf_bundle, pl.concat([pool, strange]))
    assert found.left_out.unreadable == 1
    assert "x" not in found.table["id"]
    assert ask(tfidf_bundle, pool, most=7).left_out.not_looked_at == 33
    with pytest.raises(NothingDoneError, match="no note was suggested: all 1 notes"):
        ask(tfidf_bundle, strange)


def test_ties_are_broken_by_the_seed_alone(tfidf_bundle):
    same = pl.DataFrame({"text": [f"fievre {'x' * n}" for n in range(1, 31)]})
    assert len(suggest(tfidf_bundle.folder, same, 12).table["id"].unique()) == 12


def test_what_is_wrong_is_told_at_once(tfidf_bundle, pool, tmp_path):
    with pytest.raises(InputError) as caught:
        ask(tfidf_bundle, pool, 0, per_patient=0)
    assert len(caught.value.problems) == 2
    twice = pool.with_columns(key=pl.lit("a"))
    with pytest.raises(InputError, match="'key' repeats 39 ids"):
        ask(tfidf_bundle, twice)
    with pytest.raises(InputError, match="neither a bundle nor the folder of a finished study"):
        suggest(tmp_path, pool)
    with pytest.raises(InputError, match="no column 'text' in the table of labelled notes"):
        ask(tfidf_bundle, pool, labelled=pl.DataFrame({"words": ["a"]}))
    with pytest.raises(InputError, match=r"missing group \(column 'patient'\) in 1 row\(s\): 2"):
        ask(tfidf_bundle, pool.with_columns(patient=pl.Series(["p", None] + ["q"] * 38)))


def test_texts_are_written_only_if_asked_for_and_labels_are_never_overwritten(
    tfidf_bundle, pool, tmp_path
):
    out = tmp_path / "new" / "to-label.csv"
    found = ask(tfidf_bundle, pool, 4)
    found.write(out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert not any(text in out.read_text() for text in FILLER)
    assert "fievre" not in repr(found) + json.dumps(found.to_json())
    ask(tfidf_bundle, pool, 4, with_text=True).write(out)  # replaces its own
    written = pl.read_csv(out)
    text_of = dict(zip(pool["key"], pool["text"], strict=True))
    assert written["text"].to_list() == [text_of[key] for key in written["id"]]
    written.with_columns(label=pl.lit(1)).write_csv(out)
    with pytest.raises(InputError, match="was not written by clinadapt"):
        found.write(out)
    assert "label" in pl.read_csv(out).columns
    with pytest.raises(InputError, match=r"end in \.csv"):
        check_suggestions(tmp_path / "list.parquet")
