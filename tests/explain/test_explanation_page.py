"""Faithfulness, pages and tables of explanations, and a study's errors from end to end."""

import json
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from command import run
from fitted_models import LABELS, TEXTS, fitted
from planted import READ, planted
from scipy.stats import norm

from clinadapt import NoteClassifier, ScratchModel, Study, TfidfLogistic
from clinadapt.core.errors import InputError
from clinadapt.data.notes import Columns, Notes, read_notes
from clinadapt.data.synthetic.generator import generate
from clinadapt.explain.error_analysis import KINDS, find_mistakes, judge, share
from clinadapt.explain.explain import explain
from clinadapt.explain.explanation_files import explain_table, write_explanations, write_mistakes
from clinadapt.explain.explanation_page import segments
from clinadapt.explain.faithfulness import faithfulness, without

HOSTILE = "<script>alert('x')</script> & fever <b>now</b>\r\nwith \"quotes\""


@pytest.fixture(scope="module")
def classifier():
    return NoteClassifier(TfidfLogistic()).fit(*planted(0))


@pytest.fixture(scope="module")
def explanations(classifier):
    return explain(classifier, planted(1, 30)[0])


# ---------------------------------------------------------------- faithfulness


def test_the_strongest_words_matter_more_than_random_ones(classifier, explanations):
    measured = faithfulness(classifier, explanations)
    assert measured.notes == 30
    assert 0 < measured.difference.low <= measured.difference.value <= measured.difference.high
    expected = measured.strongest.value - measured.random.value
    assert measured.difference.value == pytest.approx(expected)


def test_a_reversed_explanation_fails(classifier, explanations):
    reversed_ones = [
        replace(one, words=[replace(word, contribution=-word.contribution) for word in one.words])
        for one in explanations
    ]
    measured = faithfulness(classifier, reversed_ones)
    assert measured.difference.high < 0


def test_falls_by_hand(classifier, explanations):
    """Of notes of nine words one is deleted: the one that contributed most."""
    texts = [one.text for one in explanations]
    before = classifier.predict_proba(texts)
    predicted = classifier.predict_matrix(before).argmax(axis=1)
    falls = []
    for one, column, probability in zip(explanations, predicted, before, strict=True):
        (word,) = one.strongest(1)
        rest = one.text[: word.start] + one.text[word.end :]
        falls.append(probability[column] - classifier.predict_proba([rest])[0, column])
    measured = faithfulness(classifier, explanations)
    assert measured.strongest.value == pytest.approx(np.mean(falls), abs=1e-12)


def test_patients_are_drawn_whole(classifier, explanations):
    apart = faithfulness(classifier, explanations)
    one_patient = faithfulness(classifier, explanations, np.zeros(30, dtype=np.int64))
    assert one_patient.difference.value == apart.difference.value
    difference = one_patient.difference  # of one patient, nothing is known about others
    assert (difference.low, difference.high) == (-2, 2)


def test_deleting_words():
    assert without("l'enfant va bien", [(13, 16), (2, 8)]) == "l' va b"
    assert without("rien", []) == "rien"


def test_what_was_not_read_is_not_deleted():
    note = "un deux trois quatre cinq six sept huit"
    model = ScratchModel(vocabulary=300, max_tokens=5, epochs=1)
    labels = [0, 1] * 10
    truncating = NoteClassifier(model, validation_fraction=0.25).fit(
        [note, note.replace("un", "onze")] * 10, labels
    )
    explained = explain(truncating, [note])
    seen = []
    truncating.predict_proba = lambda texts: seen.extend(texts) or np.full((len(texts), 2), 0.5)
    faithfulness(truncating, explained)
    assert len(seen) == 11
    assert all(text.endswith(" six sept huit") for text in seen)
    assert sum(READ["head"]) == 5


def test_notes_too_short_to_delete_from(classifier):
    explained = explain(classifier, ["fever"])
    with pytest.raises(InputError, match="two words or more"):
        faithfulness(classifier, explained)


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def bundle(classifier, tmp_path_factory):
    return classifier.save(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(scope="module")
def notes_table():
    texts = [HOSTILE, *planted(2, 5)[0]]
    return pl.DataFrame({"key": [f"<{n}>" for n in range(6)], "text": texts})


def test_the_page_quotes_notes_safely(bundle, notes_table, tmp_path):
    out = tmp_path / "new" / "e.html"
    assert explain_table(bundle, notes_table, out, id="key", try_faithfulness=True)[0] == 6
    assert out.stat().st_mode & 0o077 == 0
    assert [path.name for path in out.parent.iterdir()] == ["e.html"]
    page = out.read_text(encoding="utf-8")
    assert page.index("CONTAINS PATIENT TEXT") < page.index("<article>")
    assert "&lt;script&gt;" in page.replace("</mark>", "")
    assert "<script" not in page
    assert "<b>now" not in page
    assert "Note &lt;0&gt;" in page
    assert not re.search(r"https?://|//[a-z]|@import|url\(|src=|href=", page)
    assert "default-src 'none'" in page
    assert re.search(
        r'<mark class="raises heavy"[^>]*title="\+\d\.\d{3} to the logit of 1">fever', page
    )
    assert "Faithfulness" in page


def test_segments_are_the_whole_text(explanations):
    for one in explanations:
        pieces = list(segments(one))
        assert "".join(piece.text for piece in pieces) == one.text
        largest = max(abs(word.contribution) for word in one.words)
        strong = {w.start for w in one.words if abs(w.contribution) >= 0.2 * largest}
        assert sum(piece.kind != "plain" for piece in pieces) == len(strong)
        assert max(piece.strength for piece in pieces) == 1.0


def test_what_was_not_read_is_marked_once(explanations):
    one = explanations[0]
    words = [replace(w, contribution=None) if n > 5 else w for n, w in enumerate(one.words)]
    pieces = list(segments(replace(one, words=words)))
    (unread,) = [piece for piece in pieces if piece.kind == "unread"]
    assert unread.text == one.text[words[6].start :]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_tables_hold_every_word(classifier, explanations, suffix, tmp_path):
    out = tmp_path / f"e{suffix}"
    ids = [f"n{n}" for n in range(30)]
    one = explanations[0]
    unread = replace(one, words=[replace(one.words[0], contribution=None), *one.words[1:]])
    write_explanations(out, classifier, ids, [unread, *explanations[1:]], "bundle")
    assert out.stat().st_mode & 0o077 == 0
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    else:
        rows = pl.read_parquet(out).to_dicts()
    assert [row["id"] for row in rows] == ids
    assert rows[0]["words"][0]["contribution"] is None
    for row, one in zip(rows[1:], explanations[1:], strict=True):
        assert row["class"] == "1"
        assert row["threshold"] == classifier.threshold_.value
        assert [word["word"] for word in row["words"]] == one.text.split()
        total = row["baseline"] + row["rest"] + row["gap"]
        assert total + sum(w["contribution"] for w in row["words"]) == pytest.approx(row["logit"])


def test_mistakes_of_users(bundle, notes_table, tmp_path):
    with pytest.raises(InputError, match=r"\.html or \.jsonl or \.parquet, got 'e\.pdf'"):
        explain_table(bundle, notes_table, tmp_path / "e.pdf")
    with pytest.raises(InputError, match="no rows"):
        explain_table(bundle, notes_table[:0], tmp_path / "e.html")
    with pytest.raises(InputError, match="unknown class 'x'"):
        explain_table(bundle, notes_table, tmp_path / "e.html", target="x")
    assert list(tmp_path.iterdir()) == []


def test_explain_command(bundle, notes_table, tmp_path, capsys):
    notes_table.write_csv(tmp_path / "notes.csv")
    out = tmp_path / "e.jsonl"
    code, shown, _ = run(
        "explain", bundle, tmp_path / "notes.csv", "--id", "key", "--rows", 3, "--class", 0,
        "--out", out, "--faithfulness", capsys=capsys,
    )  # fmt: skip
    assert code == 0
    assert "3 notes explained" in shown
    assert "difference" in shown
    assert "fever" not in shown
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["class"]) for row in rows] == [("<0>", "0"), ("<1>", "0"), ("<2>", "0")]


# ---------------------------------------------------------------- a study's errors

DESIGN = {
    "name": "tiny",
    "resamples": 100,
    "configurations": [{"model": "tfidf-logistic", "C": [0.01, 10.0]}],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return the folder of a study, and the file of its notes."""
    root = tmp_path_factory.mktemp("errors")
    generate(n_notes=240, n_patients=80, n_positive=96).write_csv(root / "notes.csv")
    notes = read_notes(root / "notes.csv", Columns(id="id", group="patient"))
    Study(notes, DESIGN, root / "study").run()
    return root / "study", root / "notes.csv"


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_errors_command(study, tmp_path, capsys):
    folder, table = study
    before, out = listing(folder), tmp_path / "errors.html"
    code, shown, _ = run(
        "errors", folder, table, "--id", "id", "--group", "patient", "--limit", 4, "--out", out,
        capsys=capsys,
    )  # fmt: skip
    assert code == 0
    assert "4 errors shown" in shown
    assert "negated" in shown
    assert listing(folder) == before  # nothing of it goes into the study
    assert out.stat().st_mode & 0o077 == 0
    page = out.read_text(encoding="utf-8")
    assert page.count("<article>") == 4
    assert "CONTAINS PATIENT TEXT" in page
    assert not re.search(r"https?://|<script|src=|href=", page)
    assert not any("PATIENT TEXT" in p.read_text(errors="ignore") for p in folder.rglob("*.html"))


def test_the_most_confident_errors_come_first(study):
    folder, table = study
    notes = read_notes(table, Columns(id="id", group="patient"))
    mistakes = find_mistakes(folder, notes, limit=1000)
    chosen = mistakes.study.handed_over
    frame = pl.read_parquet(chosen.folder / "predictions.parquet").filter(part="test")
    wrong = frame.filter(pl.col("label") != pl.col("prediction")).with_columns(
        sure=pl.max_horizontal(
            pl.when(prediction="positive").then("prob_positive"),
            pl.when(prediction="negative").then("prob_negative"),
        )
    )
    expected = wrong.sort("sure", descending=True, maintain_order=True)
    assert [mistake.id for mistake in mistakes.shown] == expected["id"].to_list()
    assert [mistake.label for mistake in mistakes.shown] == expected["label"].to_list()
    assert mistakes.wrong == len(wrong)
    assert mistakes.wrong + mistakes.right == len(frame)
    text_of = dict(zip(notes.ids, notes.texts, strict=True))
    for mistake in mistakes.shown:
        assert mistake.explanation.text == text_of[mistake.id]
        assert ("positive" if mistake.explanation.said else "negative") == mistake.prediction
        assert set(mistake.kinds) <= set(KINDS)
    for kind in KINDS:
        among, right = mistakes.shares[kind]
        assert among.count == sum(kind in mistake.kinds for mistake in mistakes.shown)
        assert (among.of, right.of) == (mistakes.wrong, mistakes.right)
    few = find_mistakes(folder, notes, limit=2, sample=5)
    assert few.shown == mistakes.shown[:2]
    assert {share.of for shares in few.shares.values() for share in shares} == {5}


def test_other_notes_are_refused(study, tmp_path, capsys):
    folder, table = study
    out = tmp_path / "errors.html"
    code, _, errors = run("errors", folder, table, "--group", "id", "--out", out, capsys=capsys)
    assert code == 2  # with other patients the split is another
    assert "these are not the notes of" in errors
    assert "--group" in errors
    other = pl.read_csv(table).with_columns(text=pl.col("text") + " ")
    notes = read_notes(other, Columns(id="id", group="patient"))
    with pytest.raises(InputError, match="these are not the notes"):
        write_mistakes(folder, notes, out)
    with pytest.raises(InputError, match="holds no finished study"):
        write_mistakes(tmp_path, notes, out)
    with pytest.raises(InputError, match=r"to end in \.html, got"):
        write_mistakes(folder, notes, tmp_path / "errors.csv")
    assert list(tmp_path.iterdir()) == []


def test_wrong_notes_of_each_task():
    labels = LABELS["multilabel"].take(np.array([0, 1, 2]))  # even; all, odd; even
    probabilities = np.array([[0.1, 0.9, 0.6], [0.8, 0.4, 0.3], [0.2, 0.7, 0.4]])
    predicted = probabilities >= 0.5
    wrong, target, sure = judge(labels, probabilities, predicted)
    assert [str(c) for c in labels.classes] == ["all", "even", "odd"]
    assert wrong.tolist() == [True, True, False]
    assert target.tolist() == [2, 2, 1]  # odd is predicted; odd is missed; the most probable label
    assert sure.tolist() == pytest.approx([0.6, 0.7, 0.7])

    single = LABELS["multiclass"].take(np.array([0, 1]))
    probabilities = np.array([[0.2, 0.7, 0.1], [0.1, 0.6, 0.3]])
    top = probabilities.argmax(axis=1)[:, None] == np.arange(3)
    wrong, target, sure = judge(single, probabilities, top)
    assert (wrong.tolist(), target.tolist(), sure.tolist()) == ([True, False], [1, 1], [0.7, 0.6])


def test_wilson_by_hand():
    z = norm.ppf(0.975)
    interval = share([True] * 3 + [False] * 7)
    centre = (0.3 + z * z / 20) / (1 + z * z / 10)
    half = z / (1 + z * z / 10) * np.sqrt(0.3 * 0.7 / 10 + z * z / 400)
    assert (interval.count, interval.of) == (3, 10)
    assert (interval.low, interval.high) == pytest.approx((centre - half, centre + half))
    assert share([]) is None


def test_several_labels_end_to_end(tmp_path):
    rng = np.random.default_rng(0)
    texts, sets = [], []
    for number in range(120):
        words = [w for w in ("fievre", "toux", "oedeme") if rng.random() < 0.5] or ["toux"]
        texts.append(f"enfant {number % 7} {' '.join(words)} ce jour {rng.integers(9)}")
        sets.append("|".join(w if rng.random() < 0.8 else "toux" for w in words))
    table = pl.DataFrame({"text": texts, "label": sets})
    notes: Notes = read_notes(table, Columns(separator="|"))
    Study(notes, {**DESIGN, "configurations": [{"model": "tfidf-logistic"}]}, tmp_path / "s").run()
    mistakes = write_mistakes(tmp_path / "s", notes, tmp_path / "e.html", limit=5)
    assert len(mistakes.shown) == 5
    for mistake in mistakes.shown:
        target = mistake.explanation.target
        assert (target in mistake.label.split(", ")) != (target in mistake.prediction.split(", "))
        assert mistake.explanation.said == (target in mistake.prediction.split(", "))
    page = (tmp_path / "e.html").read_text(encoding="utf-8")
    assert page.count("<article>") == 5


def test_multiclass_page_has_no_threshold(tmp_path):
    classifier = fitted(TfidfLogistic(), "multiclass")
    write_explanations(
        tmp_path / "e.html", classifier, ["1"], explain(classifier, TEXTS[:1]), "bundle"
    )
    page = (tmp_path / "e.html").read_text(encoding="utf-8")
    assert "the most probable class is predicted" in page
    write_explanations(
        tmp_path / "e.jsonl", classifier, ["1"], explain(classifier, TEXTS[:1]), "bundle"
    )
    assert json.loads((tmp_path / "e.jsonl").read_text(encoding="utf-8"))["threshold"] is None
