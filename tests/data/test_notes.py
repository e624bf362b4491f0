"""Notes are checked: all problems are reported with row numbers, nothing is dropped silently."""

import numpy as np
import polars as pl
import pytest

from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns
from clinadapt.data.notes import LeftOut, read_notes
from clinadapt.data.split import make_split
from clinadapt.data.synthetic.built_in import built_in_notes


def table(labels, **columns):
    """Table of a text for each label, and whatever columns are given."""
    texts = [f"note {row}" for row in range(1, len(labels) + 1)]
    return pl.DataFrame({"text": texts, "label": labels, **columns}, strict=False)


def problems_of(*args, **kwargs):
    with pytest.raises(InputError) as caught:
        read_notes(*args, **kwargs)
    return caught.value.problems


# ---------------------------------------------------------------- forms of labels


def test_binary():
    labels = read_notes(table(["yes", "no"] * 3)).labels
    assert labels.task == "binary"
    assert labels.classes.tolist() == ["no", "yes"]
    assert labels.target.tolist() == [1, 0] * 3


@pytest.mark.parametrize(
    ("cells", "positive", "classes"),
    [
        (["case", "control"], None, ["control", "case"]),
        (["0", "1"], None, ["0", "1"]),
        (["oui", "non"], None, ["non", "oui"]),
        (["Positive", "negative"], None, ["negative", "Positive"]),
        (["a", "b"], None, ["a", "b"]),
        (["a", "b"], "a", ["b", "a"]),
        (["case", "control"], "control", ["case", "control"]),
    ],
)
def test_positive_class_comes_last(cells, positive, classes):
    labels = read_notes(table(cells * 3), Columns(positive=positive)).labels
    assert labels.classes.tolist() == classes
    assert labels.decode().tolist() == cells * 3


def test_a_positive_class_that_does_not_occur():
    (problem,) = problems_of(table(["a", "b"] * 3), Columns(positive="c"))
    assert "--positive 'c'" in problem
    assert "labels: 'a', 'b'" in problem


def test_multi_class():
    cells = ["lung", "heart", "skin"] * 3
    labels = read_notes(table(cells)).labels
    assert labels.task == "multiclass"
    assert labels.classes.tolist() == ["heart", "lung", "skin"]
    assert labels.decode().tolist() == cells


SETS = [("a", "b"), ("b",), ("a", "c"), ("c",), ("a", "b", "c"), ("b", "c")]


@pytest.mark.parametrize(
    ("source", "columns"),
    [
        (table([" | ".join(carried) for carried in SETS]), Columns(separator="|")),
        (table(["||".join((*c, c[0], "")) for c in SETS]), Columns(separator="|")),
        (table([list(carried) for carried in SETS]), Columns()),
        (
            table([None] * len(SETS), **{name: [int(name in c) for c in SETS] for name in "abc"}),
            Columns(label=("a", "b", "c")),
        ),
        (
            table([None] * len(SETS), **{name: [name in c for c in SETS] for name in "abc"}),
            Columns(label=("a", "b", "c")),
        ),
        (
            table([None] * len(SETS), **{name: [float(name in c) for c in SETS] for name in "abc"}),
            Columns(label=("a", "b", "c")),
        ),
    ],
    ids=["separator", "separator, doubled", "list", "0/1", "true/false", "0.0/1.0"],
)
def test_multi_label(source, columns):
    labels = read_notes(source, columns).labels
    assert labels.task == "multilabel"
    assert labels.decode().tolist() == SETS


def test_a_note_may_carry_no_label_in_columns_and_lists():
    columns = pl.DataFrame(
        {"text": list("uvwxyz"), "a": [1, 1, 1, 0, 0, 0], "b": [1, 1, 1, 0, 0, 1]}
    )
    assert read_notes(columns, Columns(label=("a", "b"))).labels.matrix[3].tolist() == [False] * 2
    lists = table([["a"], ["a"], ["a", "b"], ["b"], ["b"], []])
    assert read_notes(lists).labels.decode()[-1] == ()


def test_a_label_column_that_is_no_indicator():
    source = pl.DataFrame({"text": list("uvw"), "a": ["1", "2", "0"], "b": ["1", "0", "maybe"]})
    problems = problems_of(source, Columns(label=("a", "b")))
    assert any(
        "'a' must contain 0/1" in problem and "1 row(s): 2" in problem for problem in problems
    )
    assert any(
        "'b' must contain 0/1" in problem and "1 row(s): 3" in problem for problem in problems
    )


def test_whole_floats_are_written_as_integers():
    cells = [1.0, 0.0] * 3
    notes = read_notes(table(cells, id=np.arange(6.0)), Columns(id="id"))
    assert notes.labels.classes.tolist() == ["0", "1"]
    assert notes.ids == list("012345")
    mixed = read_notes(table([0.5, 1.0] * 3)).labels
    assert mixed.classes.tolist() == ["0.5", "1.0"]


def test_an_infinite_label_is_a_class_like_another():
    cells = [float("inf"), 1.0] * 3
    assert read_notes(table(cells)).labels.classes.tolist() == ["1.0", "inf"]


def test_labels_are_stripped():
    assert read_notes(table(["a ", " a", "a", "b", "b\n", "b"])).labels.classes.tolist() == [*"ab"]


# ---------------------------------------------------------------- problems


@pytest.mark.parametrize("empty", ["", "  \n", None])
def test_all_problems_are_reported_at_once(empty):
    source = pl.DataFrame(
        {
            "id": ["1", "2", "2", None, "5", "6", "7", "8"],
            "patient": ["p", "p", "q", "q", "r", None, "s", "s"],
            "part": ["train", None, *["train"] * 6],
            "text": ["secret", empty, "b", "c", "d", "e", "f", empty],
            "label": ["x", "x", "x", "y", None, "x", "x", "x"],
        }
    )
    problems = problems_of(source, Columns(id="id", group="patient", split="part"))
    expected = [
        "empty text in 2 row(s): 2, 8",
        "missing label in 1 row(s): 5",
        "missing group (column 'patient') in 1 row(s): 6",
        "missing split (column 'part') in 1 row(s): 2",
        "missing id (column 'id') in 1 row(s): 4",
        "duplicate ids (column 'id') in 2 row(s): 2, 3",
        "with fewer than 3 patients (groups), too few for training, validation and test: 'y' (1)",
    ]
    assert len(problems) == len(expected)
    for sentence in expected:
        assert any(sentence in problem for problem in problems), sentence
    assert "secret" not in "\n".join(problems)


def test_all_missing_columns_are_named_with_those_that_are_there():
    columns = Columns(text="body", label=("target",), id="key", group="who", split="fold")
    (problem,) = problems_of(table(["a", "b"]), columns)
    assert problem == (
        "no column 'body', 'target', 'key', 'who', 'fold' in the table; it has: text, label"
    )


@pytest.mark.parametrize(
    ("cells", "count"), [(["a"] * 5, "1 (labels: 'a')"), ([None] * 5, "0 (labels: none)")]
)
def test_one_class_only(cells, count):
    assert any(
        f"expected at least two classes, got {count}" in problem
        for problem in problems_of(table(cells))
    )


def test_no_rows():
    (problem,) = problems_of(table([]))
    assert "no rows" in problem


def test_rare_classes_count_notes_without_and_patients_with_groups():
    cells = ["a"] * 4 + ["b"] * 4 + ["c"] * 2
    (problem,) = problems_of(table(cells))
    assert "1 class(es) with fewer than 3 notes" in problem
    assert "'c' (2)" in problem
    grouped = table(cells, who=[*"1234", *"1122", *"12"])
    (problem,) = problems_of(grouped, Columns(group="who"))
    assert "2 class(es) with fewer than 3 patients (groups)" in problem
    assert "'b' (2)" in problem
    assert read_notes(grouped, Columns(group="who"), minimum_per_class=2).groups == [*"1234112212"]


def test_long_lists_of_rows_are_shortened():
    problem = problems_of(table(["a", None] * 30))[0]
    assert "missing label in 30 row(s): 2, 4, 6, 8, 10, 12, 14, 16, 18, 20 and 20 more" in problem


@pytest.mark.parametrize("mark", "|;,")
def test_a_separator_is_suggested_for_labels_that_hold_one(mark):
    cells = [f"a{mark}b", f"b{mark}c", f"a{mark}c", "a"]
    assert f"--separator {mark!r}" in problems_of(table(cells))[-1]


def test_no_separator_is_suggested_where_classes_are_not_rare_or_it_is_known():
    cells = ["heart, left", "heart, right"] * 3
    assert read_notes(table(cells)).labels.classes.tolist() == ["heart, left", "heart, right"]
    problems = problems_of(table(["a|b", "b|c", "a|c"]), Columns(separator="|"))
    assert "--separator" not in "\n".join(problems)


def test_a_null_within_a_list_is_a_missing_label():
    (problem,) = problems_of(table([["a"], ["a", None], ["a"], ["b"], ["b"], ["b"], ["a"]]))
    assert problem.startswith("missing label in 1 row(s): 2")
    assert problem.endswith("A note with no label is written as an empty list")


# ---------------------------------------------------------------- warnings and rows left out


def test_a_text_with_two_labels_is_a_warning_with_rows():
    source = pl.DataFrame(
        {
            "text": ["Same text", "b", "same  TEXT", "c", "twice", "d", "twice"],
            "label": ["x", "x", "y", "y", "x", "y", "x"],
        }
    )
    two_labels, repeated, _ = read_notes(source).warnings
    assert two_labels == "the same text with different labels: 1 text(s), in 2 row(s): 1, 3"
    assert repeated == "the same text more than once: 2 text(s), in 4 row(s): 1, 3, 5, 7"
    assert read_notes(table(["no", "yes"] * 3)).warnings == []


def test_order_of_labels_is_no_conflict():
    source = table(["a|b", "b|a", "a", "b"]).with_columns(text=pl.Series(["s", "s", "t", "u"]))
    (warning,) = read_notes(source, Columns(separator="|")).warnings
    assert "more than once" in warning


def test_bad_rows_are_left_out_and_listed_and_the_rest_stays_aligned():
    source = pl.DataFrame(
        {
            "id": [f"n{row}" for row in range(1, 9)],
            "who": [f"p{row}" for row in range(1, 9)],
            "part": ["train", None, "test", "train", "test", None, "train", "test"],
            "text": ["t1", "", "t3", "t4", "t5", "t6", "t7", "t8"],
            "label": ["a", "b", "b", "a", "b", None, "a", "b"],
        }
    )
    columns = Columns(id="id", group="who", split="part")
    notes = read_notes(source, columns, leave_out_bad=True)
    assert notes.left_out == [LeftOut(2, "n2", "empty text"), LeftOut(6, "n6", "missing label")]
    kept = [1, 3, 4, 5, 7, 8]
    assert notes.ids == [f"n{row}" for row in kept]
    assert notes.texts == [f"t{row}" for row in kept]
    assert notes.groups == [f"p{row}" for row in kept]
    assert notes.labels.decode().tolist() == ["a", "b", "a", "b", "a", "b"]
    assert notes.parts == ["train", "test", "train", "test", "train", "test"]
    assert len(problems_of(source, columns)) == 3


def test_row_numbers_are_those_of_the_table_after_leaving_out():
    source = table([None, "a", "a", "a", "b", "b", "b"]).with_columns(
        text=pl.Series(["s", "same", "t", "u", "same", "v", "w"])
    )
    notes = read_notes(source, leave_out_bad=True)
    assert "2 row(s): 2, 5" in notes.warnings[0]
    assert notes.ids == ["2", "3", "4", "5", "6", "7"]


def test_leaving_out_does_not_forgive_the_other_problems():
    source = table(["a", "b", None, "a"], id=["1", "1", "2", "3"])
    problems = problems_of(source, Columns(id="id"), leave_out_bad=True)
    assert any("duplicate ids" in problem for problem in problems)
    assert any("'b' (1)" in problem for problem in problems)
    assert not any("missing label" in problem for problem in problems)


# ---------------------------------------------------------------- groups, sources, unlabelled texts


def test_clusters_are_patients_or_else_notes():
    labels = ["a", "b"] * 3
    assert read_notes(table(labels)).clusters.tolist() == [0, 1, 2, 3, 4, 5]
    grouped = read_notes(table(labels, who=[*"zyxzyx"]), Columns(group="who"))
    assert grouped.clusters.tolist() == [2, 1, 0, 2, 1, 0]


def test_source_is_a_path_and_never_content(tmp_path):
    source = table(["a", "b"] * 3)
    source.write_csv(tmp_path / "notes.csv")
    assert read_notes(tmp_path / "notes.csv").source == str(tmp_path / "notes.csv")
    assert read_notes(source).source == "memory"


def test_note_text_never_reaches_a_message_or_a_result():
    text = "le patient numero {} a ete admis avec une dyspnee et un SECRETWORD"
    notes = [text.format(number) for number in range(9)]
    frame = pl.DataFrame({"text": notes, "label": ["a", "b", "c"] * 3, "suffix": ["x"] * 9})
    for columns in (Columns(label=("text",)), Columns(split="text"), Columns(positive=notes[0])):
        with pytest.raises(InputError) as caught:
            make_split(read_notes(frame, columns, minimum_per_class=2))
        assert "SECRETWORD" not in str(caught.value).replace(str(columns.positive), "")
    assert read_notes(frame.to_pandas()).source == "memory"


def test_label_columns_without_notes_are_reported():
    frame = pl.DataFrame({"text": list("abcdefgh"), "x": [0, 1] * 4, "y": [1, 0] * 4, "z": [0] * 8})
    with pytest.raises(InputError, match=r"'z' \(0\)"):
        read_notes(frame, Columns(label=("x", "y", "z")))


def test_a_row_without_text_and_label_is_left_out_once():
    cells = ["a", "b", None] * 3
    frame = pl.DataFrame({"text": cells, "label": cells})
    left_out = read_notes(frame, leave_out_bad=True).left_out
    assert [(entry.row, entry.reason) for entry in left_out] == [
        (row, "empty text, missing label") for row in (3, 6, 9)
    ]


def test_columns_without_a_text_form_are_reported():
    frame = pl.DataFrame({"text": [b"\xe9t\xe9", b"a"] * 3, "label": ["x", "y"] * 3})
    with pytest.raises(InputError, match="cannot be read as text"):
        read_notes(frame)


def test_built_in_notes_say_that_they_are_synthetic():
    notes = built_in_notes(n_notes=30, n_patients=10, n_positive=12)
    assert notes.synthetic
    assert notes.source == "built-in"


# ---------------------------------------------------------------- many rows


@pytest.fixture
def in_small_batches(monkeypatch):
    monkeypatch.setattr("clinadapt.data.tables.table.ROWS_AT_ONCE", 3)


def test_findings_cross_the_borders_of_batches(in_small_batches):
    source = pl.DataFrame(
        {
            "id": ["a", "b", "c", "d", "a", "f", None, "h"],
            "text": ["same", "u", "v", "w", " ", "x", "Same", "y"],
            "label": ["p", "q", "p", "q", "p", None, "q", "p"],
        }
    )
    report = "\n".join(problems_of(source, Columns(id="id")))
    for sentence in (
        "empty text in 1 row(s): 5",
        "missing label in 1 row(s): 6",
        "missing id (column 'id') in 1 row(s): 7",
        "duplicate ids (column 'id') in 2 row(s): 1, 5",
        "the same text with different labels: 1 text(s), in 2 row(s): 1, 7",
    ):
        assert sentence in report


def test_whole_floats_are_those_of_the_whole_column(in_small_batches):
    notes = read_notes(table([1.0, 0.0, 1.0, 0.0, 0.5, 1.0, 0.0, 0.5, 0.5], id=np.arange(9.0)))
    assert notes.labels.classes.tolist() == ["0.0", "0.5", "1.0"]
    assert notes.labels.decode().tolist()[:5] == ["1.0", "0.0", "1.0", "0.0", "0.5"]


@pytest.mark.parametrize(
    ("write", "name"),
    [("write_csv", "n.csv"), ("write_parquet", "n.parquet"), ("write_ndjson", "n.jsonl")],
)
def test_batches_of_a_file_make_the_notes_of_the_whole(
    write, name, tmp_path, small_table, monkeypatch
):
    path = tmp_path / name
    getattr(small_table, write)(path)
    at_once = read_notes(small_table, Columns(id="id", group="patient"))
    monkeypatch.setattr("clinadapt.data.tables.table.ROWS_AT_ONCE", 7)
    parts = read_notes(path, Columns(id="id", group="patient"))
    assert parts.fingerprint == at_once.fingerprint
    assert parts.texts == small_table["text"].to_list()


def test_a_fingerprint_is_of_content_labels_and_patients():
    source = table(["a", "b"] * 4, who=[*"12345612"])
    first = read_notes(source, Columns(group="who"))
    assert first.fingerprint == read_notes(source, Columns(group="who")).fingerprint
    others = [
        read_notes(source),
        read_notes(source.with_columns(label=pl.Series(["b", "a"] * 4)), Columns(group="who")),
        read_notes(source.with_columns(text=pl.col("text") + "x"), Columns(group="who")),
        first.take(np.arange(7)),
    ]
    assert len({first.fingerprint, *(notes.fingerprint for notes in others)}) == 5


def test_a_table_without_usable_rows_is_an_error():
    source = table([None] * 3, who=[*"abc"])
    with pytest.raises(InputError, match=r"at least two classes, got 0 \(labels: none\)"):
        read_notes(source, Columns(group="who"), leave_out_bad=True)


def test_notes_taken_keep_their_labels_and_patients():
    source = table(["a", "b", "c"] * 3, who=[*"zyxzyxzyx"])
    notes = read_notes(source, Columns(group="who"), minimum_per_class=1)
    some = notes.take(np.array([4, 0]))
    assert some.texts == ["note 5", "note 1"]
    assert some.groups == ["y", "z"]
    assert some.labels.decode().tolist() == ["b", "a"]
    assert some.clusters.tolist() == [0, 1]


# ---------------------------------------------------------------- what is shown


def test_what_is_shown_of_notes_is_counts():
    rows = table(["oui", "non", "non"] * 3, patient=[f"Durand {n // 3}" for n in range(9)])
    notes = read_notes(rows, Columns(group="patient"))
    assert repr(notes) == "<9 notes; binary: non 6, oui 3; 3 patients>"
    assert notes._repr_html_() == "9 notes<br>binary: non 6, oui 3<br>3 patients"


def test_neither_text_nor_id_nor_a_long_class_is_shown():
    rows = table([f"<i>{n % 2} " + "histoire de la maladie " * 9 for n in range(8)])
    rows = rows.with_columns(id=pl.col("text") + " id")
    notes = read_notes(rows, Columns(id="id"))
    for shown in (repr(notes), notes._repr_html_()):
        assert "note " not in shown
        assert "histoire" not in shown
        assert "<i>" not in shown


def test_of_many_classes_the_number_is_shown():
    notes = read_notes(table([f"class {n}" for n in range(9)] * 3))
    assert repr(notes) == "<27 notes; multiclass: 9 classes>"
