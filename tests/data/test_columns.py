"""Roles of columns; labels in every layout, spelling and kind that a table may have."""

from dataclasses import replace

import polars as pl
import pytest

from clinadapt.cli.display import print_notes
from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.split import make_split


def table(labels, **columns):
    """Table of a text for each label, and whatever columns are given."""
    texts = [f"note {row}" for row in range(1, len(labels) + 1)]
    return pl.DataFrame({"text": texts, "label": labels, **columns}, strict=False)


def problems_of(*args):
    with pytest.raises(InputError) as caught:
        read_notes(*args)
    return caught.value.problems


@pytest.mark.parametrize(
    ("source", "columns", "missing"),
    [
        (table(["a|b", "|", " a | | ", "\u200b", "b", "a|b"]), Columns(separator="|"), "4"),
        (table([["a", "b"], [], ["a", ""], None, [" ", "b"], ["b", "a"]]), Columns(), "4"),
        (
            table(["?"] * 6, a=list("101011"), b=["1", "0", "0", "", "1", "1"]),
            Columns(label=("a", "b")),
            "4",
        ),
    ],
)
def test_no_label_is_not_a_missing_label_in_any_layout(source, columns, missing):
    (problem,) = problems_of(source, columns)
    assert problem.startswith(f"missing label in 1 row(s): {missing}:")
    assert "A note with no label is written as" in problem
    labels = read_notes(source, columns, leave_out_bad=True, minimum_per_class=0).labels
    assert (labels.task, labels.classes.tolist()) == ("multilabel", ["a", "b"])
    assert labels.matrix[:3].tolist() == [[True, True], [False, False], [True, False]]


# ---------------------------------------------------------------- spellings and kinds of classes


@pytest.mark.parametrize(
    "other", [" yes", "yes\u00a0", "y\u200bes", "\ufeffyes", "ye\u00ads", "yes\u2060"]
)
def test_spellings_that_nobody_can_tell_apart_are_one_class(other):
    labels = read_notes(table(["yes", other, "no"] * 3)).labels
    assert (labels.task, labels.classes.tolist()) == ("binary", ["no", "yes"])
    assert labels.matrix.sum(axis=0).tolist() == [3, 6]


def test_two_spellings_in_one_list_are_one_label():
    composed, decomposed = "fi\u00e8vre", "fie\u0300vre"
    notes = read_notes(table([[composed, decomposed], ["toux"], [composed, "toux"]] * 3))
    assert notes.labels.classes.tolist() == ["fi\u00e8vre", "toux"]
    assert notes.labels.matrix.sum(axis=0).tolist() == [6, 6]


@pytest.mark.parametrize("other", ["YES", "Yes.", "y\u0117s"])
def test_classes_that_look_alike_are_told_with_counts(other):
    warning = read_notes(table(["yes", "no", "yes", other] * 3)).warnings[0]
    assert f"'yes' (6), {other!r} (3): if they mean the same, write 'yes' for all" in warning


def test_classes_that_look_alike_are_told_if_they_are_too_rare():
    problems = problems_of(table(["1", "0", "1", "0", "1.0", "0", "1"]))
    assert "fewer than 3 notes" in problems[0]
    assert "(warning) classes look alike" in problems[1]


@pytest.mark.parametrize(
    "cells",
    [
        [{"code": "a"}, {"code": "b"}] * 4,
        [[{"code": "a"}], [{"code": "b"}]] * 4,
        [[["a"]], [["b"]]] * 4,
        pl.Series([object(), object()] * 4, dtype=pl.Object),
    ],
)
def test_labels_that_are_structures_are_refused(cells):
    source = table(["?"] * 8).with_columns(pl.Series("label", cells))
    message = r"column 'label' in the table holds (lists of )*values of the type"
    with pytest.raises(InputError, match=message):
        read_notes(source)


def test_positive_class_of_a_table():
    unlike = ["pas de fracture", "fracture"] * 3
    labels = read_notes(table(unlike)).labels
    assert (labels.classes.tolist(), labels.positive) == (
        ["pas de fracture", "fracture"],
        "fracture",
    )
    chosen = read_notes(table(unlike), Columns(positive=" pas de  fracture"))
    assert (chosen.labels.positive, chosen.warnings) == ("pas de fracture", [])
    guessed = read_notes(table(["site A", "site A", "site B"] * 3))
    assert guessed.labels.positive == "site B"
    assert "so 'site B', the rarer (3 of 9 notes), is taken" in guessed.warnings[0]
    assert "--positive" in guessed.warnings[0]


@pytest.mark.parametrize(
    ("cells", "columns"),
    [(["a", "b", "c"] * 3, Columns()), (["a|b", "b", "a"] * 3, Columns(separator="|"))],
)
def test_positive_class_of_other_tasks_is_refused(cells, columns):
    (problem,) = problems_of(table(cells), replace(columns, positive="a"))
    assert "--positive names one of two classes" in problem


def test_columns_take_one_name_or_several():
    columns = Columns(label="label", describe="ward")
    assert (columns.label, columns.describe) == (("label",), ("ward",))
    assert columns == Columns(label=["label"], describe=("ward",))
    with pytest.raises(InputError, match="label: a column is named twice"):
        Columns(label=("a", "a"))


def test_many_classes_are_doubted():
    rows = 6000
    source = pl.DataFrame({"text": [f"w{row} x" for row in range(rows)], "label": range(rows)})
    source = source.with_columns(pl.col("label") % (rows // 4)).cast(pl.String)
    notes = read_notes(source)
    assert notes.warnings == [
        "1,500 classes for 6,000 notes, 4.0 notes per class: is it the right label column?"
    ]
    sizes = [len(part) for part in make_split(notes).parts().values()]
    assert sum(sizes) == rows
    assert min(sizes) > 0


def test_long_names_are_doubted_and_not_quoted(capsys):
    secrets = [f"zqxsecret {'words of a note ' * 4}{number}" for number in (1, 2)]
    notes = read_notes(table(secrets * 6))
    print_notes(notes, make_split(notes))
    printed = capsys.readouterr().out
    assert "2 classes have names of more than 60 characters: is it" in notes.warnings[0]
    assert "(a long name)" in printed
    assert "zqxsecret" not in printed + "".join(notes.warnings)


def test_fields_of_structures_are_not_quoted():
    source = table(["?"] * 4).with_columns(label=pl.Series([{"zqxsecret": 1}] * 4))
    (problem,) = problems_of(source)
    assert "values of the type Struct" in problem
    assert "zqxsecret" not in problem


def test_the_positive_class_and_many_classes_are_printed(capsys):
    notes = read_notes(table(["sain", "malade"] * 6))
    print_notes(notes, make_split(notes))
    printed = capsys.readouterr().out
    assert "positive class: 'malade'" in printed
    assert "--positive 'sain'" in printed
    notes = read_notes(table([f"c{row % 30:02}" for row in range(300)]))
    print_notes(notes, make_split(notes))
    printed = capsys.readouterr().out
    assert "30 classes" in printed
    assert "smallest class" in printed
    assert "c07" not in printed


def test_more_classes_than_a_matrix_holds_are_refused(monkeypatch):
    monkeypatch.setattr("clinadapt.data.labels.MOST_CELLS", 20)
    with pytest.raises(InputError, match="3 classes of 9 notes are too many"):
        read_notes(table(["a", "b", "c"] * 3))


def test_a_word_for_nothing_in_a_list_is_a_missing_label(tmp_path):
    csv, lines = tmp_path / "notes.csv", tmp_path / "notes.jsonl"
    csv.write_text("text,label\n" + "toux,a|NA\nfin,a\nsuite,b\n" * 3)
    row = '{"text": "toux", "label": ["a", "NA"]}\n{"text": "fin", "label": ["a", "b"]}\n'
    lines.write_text(row * 3)
    for source, columns, rows in (
        (csv, Columns(separator="|"), "1, 4, 7"),
        (lines, Columns(), "1, 3, 5"),
    ):
        (problem,) = problems_of(source, columns)[:1]
        assert f"missing label in 3 row(s): {rows}" in problem


def test_indicators_may_be_written_as_floats(tmp_path):
    notes = tmp_path / "notes.csv"
    notes.write_text("text,a,b\n" + "toux,1.0,0\nfin,0.0,1\n" * 3)
    assert read_notes(notes, Columns(label=("a", "b"))).labels.counts() == {"a": 3, "b": 3}
