"""JSON in every form: lines, arrays, indented objects; what is broken is named by its line."""

import json

import polars as pl
import pytest

from clinadapt.core.errors import InputError
from clinadapt.data.tables import json_values
from clinadapt.data.tables.opening import open_table

ROWS = [{"id": number, "text": f'fever {number} "é" [x], {{y}}\n'} for number in range(1, 40)]


def read(path):
    return [row for batch in open_table(path).batches() for row in batch.to_dicts()]


def refusal(tmp_path, content, name="notes.jsonl"):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        open_table(tmp_path / name)
    assert "fever" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("block", [1, 7, 64, 2**20])
@pytest.mark.parametrize("form", ["lines", "array", "indented array", "indented objects"])
def test_every_form_gives_the_same_rows(tmp_path, monkeypatch, form, block):
    monkeypatch.setattr(json_values, "AT_ONCE", block)
    path = tmp_path / "notes.jsonl"
    content = {
        "lines": "\r\n".join(map(json.dumps, ROWS)) + "\r\n\r\n",
        "array": json.dumps(ROWS),
        "indented array": f"\n{json.dumps(ROWS, indent=2, ensure_ascii=False)}\n",
        "indented objects": "\n".join(json.dumps(row, indent=1) for row in ROWS),
    }[form]
    path.write_text(content, encoding="utf-8")
    assert read(path) == [{"id": str(row["id"]), "text": row["text"]} for row in ROWS]


@pytest.mark.parametrize(
    ("values", "read_as", "dtype"),
    [
        ([1, 2, None], ["1", "2", None], pl.String()),
        ([2**53 + 1, 10**30], [str(2**53 + 1), str(10**30)], pl.String()),
        ([1, 1.5, None], [1.0, 1.5, None], pl.Float64()),
        ([2**53 + 1, 1.5], [str(2**53 + 1), "1.5"], pl.String()),
        ([True, False], ["true", "false"], pl.String()),
        (["01", 1, True], ["01", "1", "true"], pl.String()),
        ([["a", 1], [], None], [["a", "1"], [], None], pl.List(pl.String)),
        (["a\ud800b"], ["a\ufffdb"], pl.String()),
    ],
)
def test_values_are_exact(tmp_path, values, read_as, dtype):
    path = tmp_path / "notes.jsonl"
    path.write_text("\n".join(json.dumps({"value": value}) for value in values))
    assert open_table(path).schema["value"] == dtype
    assert [row["value"] for row in read(path)] == read_as


def test_a_key_that_an_object_lacks_is_null(tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"a": "x"}\n{"b": "y"}\n')
    assert read(tmp_path / "notes.jsonl") == [{"a": "x", "b": None}, {"a": None, "b": "y"}]


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}], [[1]]])
def test_nested_values_have_a_type_of_no_text(tmp_path, value):
    (tmp_path / "notes.jsonl").write_text(json.dumps({"text": value, "id": 1}))
    assert open_table(tmp_path / "notes.jsonl").schema["text"] == pl.Object()


def test_problems_are_named_by_their_lines(tmp_path):
    lines = [json.dumps(row) for row in ROWS]
    lines[3] = lines[3][:-5]
    lines[7] = '["fever"]'
    lines[9] = '{"id": 1, "id": 2, "text": "fever"}'
    message = refusal(tmp_path, "\n".join(lines))
    assert "line(s) 4: this is not valid JSON" in message
    assert "line(s) 8: this is no JSON object" in message
    assert "line(s) 10: two columns (keys) of this object have the same name" in message


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('{"text": "fever"\n{"text": "fever"}\n', 1),
        ('[\n{"text": "fever"},\n{"text": fever}\n]', 3),
        ('[{"text": "fever"}', 1),
        ('[\n{"text": "fever"},\n]', 3),
        ('[{"text": "fever"}] more', 1),
        ('[{"text": "fever"}\n{"text": "fever"}]', 2),
        ("[" * 100_000, 1),
    ],
)
@pytest.mark.parametrize("block", [1, 2**20])
def test_what_is_cut_or_broken(tmp_path, monkeypatch, content, line, block):
    monkeypatch.setattr(json_values, "AT_ONCE", block)
    assert f"line(s) {line}: this is no" in refusal(tmp_path, content)


def test_notes_that_are_keys_are_not_told(tmp_path):
    by_line = "\n".join(json.dumps({f"fever {number}": "yes"}) for number in range(20))
    (tmp_path / "notes.jsonl").write_text(by_line)
    assert open_table(tmp_path / "notes.jsonl").names_are_data
    nested = json.dumps({f"fever {number}": {"label": "yes"} for number in range(20)})
    assert "one object that holds 20 others" in refusal(tmp_path, nested, "notes.json")
