"""What messages list, and what they keep to themselves."""

import pytest

from clinadapt.data.checks import shown_columns, shown_values

NOTE = "Mr Fever has had a cough since Monday"


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["id", "text", "Compte_rendu", "x.1"], "id, text, Compte_rendu, x.1"),
        (["id", "date of birth", "text"], "id, text and 1 more"),
        (["text de la note", "note libre"], "2 columns with names of several words"),
        ([f"c{number}" for number in range(15)], "c8, c9 and 5 more"),
        (["1", "id"], "id and 1 more"),
        ([], "no columns"),
    ],
)
def test_columns_that_look_like_names_are_listed(names, shown):
    assert shown in shown_columns(names)


@pytest.mark.parametrize("names", [["id", NOTE], [NOTE], ["n01", "x" * 70, "yes"]])
def test_columns_that_may_be_notes_are_counted(names):
    message = shown_columns(names)
    assert f"{len(names)} column" in message
    assert "header" in message
    assert not any(name in message for name in names)
    assert "yes" not in shown_columns(["yes", "fever"], are_data=True)


def test_values_that_may_be_notes_are_counted():
    assert shown_values(["yes", "chest infection"]) == "'yes', 'chest infection'"
    assert shown_values(["yes", NOTE]) == "2 long values (is it the right column?)"
