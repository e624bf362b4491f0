"""Delimited text: its dialect is found and told; what is broken is named by its line."""

import pytest

from clinadapt.core.errors import InputError
from clinadapt.data.tables.opening import open_table

TEXTS = [f"fever, day {number}; weight stable" for number in range(1, 31)]
WORDS = [f"fever on day {number} with cough" for number in range(1, 31)]


def opened(tmp_path, content, name="notes.csv", **options):
    """Rows of a file, what was told, and warnings."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    told = []
    table = open_table(path, tell=told.append, **options)
    rows = [row for batch in table.batches() for row in batch.rows()]
    assert table.count() == len(rows)
    return rows, told, table.warnings


def refusal(tmp_path, content, name="notes.csv", **options):
    """Message of the refusal, which must not quote a note."""
    with pytest.raises(InputError) as caught:
        opened(tmp_path, content, name, **options)
    assert "fever" not in str(caught.value)
    return str(caught.value)


def written(delimiter, texts=WORDS, end="\n"):
    """Table with an id, a text, a label and a patient."""
    cells = [("id", "text", "label", "patient")]
    cells += [
        (f"n{number:02}", text, ("yes", "no")[number % 2], f"P{number // 2:02}")
        for number, text in enumerate(texts, 1)
    ]
    return "".join(delimiter.join(row) + end for row in cells)


# ---------------------------------------------------------------- dialects


@pytest.mark.parametrize(
    ("name", "delimiter", "said"),
    [
        ("notes.csv", ",", None),
        ("notes.csv", ";", "notes.csv is read as delimited text with ';'"),
        ("notes.csv", "\t", "notes.csv is read as delimited text with tabs"),
        ("notes.csv", "|", "notes.csv is read as delimited text with '|'"),
        ("notes.tsv", "\t", None),
        ("NOTES.TSV", ";", "NOTES.TSV is read as delimited text with ';'"),
        ("notes.dat", "|", "notes.dat is read as delimited text with '|'"),
        ("notes", ",", "notes is read as delimited text with ','"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_delimiter_is_found_and_told_if_it_is_unusual(tmp_path, name, delimiter, said, end):
    rows, told, _ = opened(tmp_path, written(delimiter, end=end), name)
    assert [row[1] for row in rows] == WORDS
    assert told == ([said] if said else [])


def test_a_french_spreadsheet(tmp_path):
    content = (
        "\ufeffIdentifiant;Température;Compte rendu\r\n"
        '1;38,5;"Fièvre ;\ntoux, dite ""grasse"""\r\n2;37,0;Contrôle\r\n'
    )
    rows, told, warnings = opened(tmp_path, content)
    assert rows == [("1", "38,5", 'Fièvre ;\ntoux, dite "grasse"'), ("2", "37,0", "Contrôle")]
    assert told == ["notes.csv is read as delimited text with ';'"]
    assert warnings == ()
    other = content.removeprefix("\ufeff").encode("cp1252")
    assert "--encoding cp1252" in refusal(tmp_path, other)
    assert opened(tmp_path, other, encoding="cp1252")[0] == rows


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, encoding):
    mark = "" if encoding in {"utf-16", "utf-32", "utf-8-sig"} else "\ufeff"
    content = f"{mark}text,label\nfièvre,1\n".encode(encoding)
    assert opened(tmp_path, content)[0] == [("fièvre", "1")]
    assert opened(tmp_path, content, encoding="cp1252")[0] == [("fièvre", "1")]


def test_a_wrong_byte_order_mark_is_no_content(tmp_path):
    content = b"\xef\xbb\xbf" + "text,label\nfièvre,1\n".encode("cp1252")
    assert "byte order mark" in refusal(tmp_path, content)
    assert opened(tmp_path, content, encoding="cp1252")[0] == [("fièvre", "1")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_called_so(tmp_path, encoding):
    content = written(",").encode(encoding)
    assert f"try --encoding {encoding}" in refusal(tmp_path, content)
    assert len(opened(tmp_path, content, encoding=encoding)[0]) == 30


def test_excel_names_the_delimiter_in_the_first_line(tmp_path):
    assert opened(tmp_path, "sep=|\ntext|label\na,b;c|1\n")[0] == [("a,b;c", "1")]


@pytest.mark.parametrize(("given", "mark"), [("tab", "\t"), ("^", "^"), (";", ";"), ("\\t", "\t")])
def test_a_delimiter_may_be_given(tmp_path, given, mark):
    content = f"text{mark}a,b\nx,y{mark}1\n"
    assert opened(tmp_path, content, delimiter=given)[0] == [("x,y", "1")]


@pytest.mark.parametrize("given", ["", ";;", '"', "\n", "fever and cough"])
def test_what_cannot_delimit_cells_is_refused(tmp_path, given):
    assert "--delimiter takes one character" in refusal(tmp_path, written(","), delimiter=given)


def test_two_delimiters_in_the_header_are_told_apart_by_the_rows_or_asked_for(tmp_path):
    header = "id;temperature (°C, axillary);text\n"
    assert opened(tmp_path, f"{header}1;38,5;a, b\n2;37;c\n")[0][1] == ("2", "37", "c")
    assert "say by which with --delimiter" in refusal(tmp_path, f"{header}1;38,5;a\n")
    assert opened(tmp_path, f"{header}1;38,5;a\n", delimiter=";")[0] == [("1", "38,5", "a")]


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_backslashes_escape_quotes_and_no_other_character(tmp_path, delimiter):
    rows = [r'"height 5\" tall"', r'"ends with \\"', r'"C:\new"', '"a ""b"""']
    content = f"text{delimiter}label\n" + "".join(f"{row}{delimiter}1\n" for row in rows)
    found, told, _ = opened(tmp_path, content)
    assert [row[0] for row in found] == ['height 5" tall', "ends with \\", "C:\\new", 'a "b"']
    assert "backslashes that escape" in told[0]


def test_backslashes_are_content_where_nothing_says_otherwise(tmp_path):
    content = 'text,label\nC:\\new,1\n"ends with \\",0\n'
    assert opened(tmp_path, content)[0] == [("C:\\new", "1"), ("ends with \\", "0")]


def test_a_backslash_that_may_be_either_is_refused(tmp_path):
    assert "line 2: a backslash may be content" in refusal(tmp_path, 'text,label\nsay \\"a\\",1\n')
    # The last line end may end the row, or be the last character of its cell.
    assert "line 3: a backslash may be content" in refusal(tmp_path, "id,text\n1,a\n2,\\\n")


def test_quotes_in_text_with_tabs_are_content_unless_they_enclose_cells(tmp_path):
    texts = ['"Fever" he said', '5" scar', 'odd "one', "plain", 'say "x" twice']
    rows, told, _ = opened(tmp_path, written("\t", texts), "notes.tsv")
    assert [row[1] for row in rows] == texts
    assert told == ["notes.tsv is read as delimited text with quotes as content"]
    quoted = ['"a\tb"', '"c ""d"""', '"e\nf"', "g"]
    rows, told, _ = opened(tmp_path, written("\t", quoted), "notes.tsv")
    assert [row[1] for row in rows] == ["a\tb", 'c "d"', "e\nf", "g"]
    assert told == []


def test_rows_that_stray_quotes_would_merge_are_kept_apart_in_text_with_tabs(tmp_path):
    texts = [*WORDS[:9], f'"{WORDS[9]}', *WORDS[10:14], f'{WORDS[14]}"', *WORDS[15:]]
    rows, _, _ = opened(tmp_path, written("\t", texts), "notes.tsv")
    assert [row[1] for row in rows] == texts


def test_lines_without_anything_are_no_rows(tmp_path):
    assert opened(tmp_path, "\n\ntext,label\n\na,1\n  \nb,0\n\n\n")[0] == [("a", "1"), ("b", "0")]
    assert opened(tmp_path, "text\na\n\nb\n")[0] == [("a",), (None,), ("b",)]


def test_columns_without_a_name_are_no_columns(tmp_path):
    assert opened(tmp_path, ",text,\n0,a,\n1,b,\n")[0] == [("a",), ("b",)]


# ---------------------------------------------------------------- refused, with the line


def test_rows_with_other_numbers_of_cells(tmp_path):
    lines = written(",").splitlines()
    lines[7] += ",more"
    lines[11] = "n11,fever"
    message = refusal(tmp_path, "\r\n".join(lines))
    assert "the first row has 4 cell(s), but line 8 has 5, line 12 has 2: " in message
    every = "\n".join([lines[0].removeprefix("id,"), *written(",").splitlines()[1:]])
    assert "the header lacks the name of a column" in refusal(tmp_path, every)


def test_lines_are_those_of_the_file_and_not_rows(tmp_path):
    content = 'text,label\n\n"fever\nand\ncough",1\nfever,2,3\n'
    assert "line 6 has 3" in refusal(tmp_path, content)
    assert "line 4 has 3" in refusal(tmp_path, "sep=,\ntext,label\nfever,1\nfever,2,3\n")


def test_a_quote_that_is_never_closed(tmp_path):
    content = written(",").replace("n20,", 'n20,"')
    message = refusal(tmp_path, content)
    assert "line 21: a quote that opens a cell in the row that begins here is never" in message


def test_a_quote_that_ends_in_the_next_quoted_cell(tmp_path):
    content = written(",").replace("n20,", 'n20,"').replace(WORDS[24], f'"{WORDS[24]}"')
    assert "line 21: in the row that begins here" in refusal(tmp_path, content)


@pytest.mark.parametrize("more", ["", " and no other complaint" * 9])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_rows_that_stray_quotes_have_merged(tmp_path, delimiter, more):
    words = [word + more for word in WORDS]
    texts = [*words[:9], f'"{words[9]}', *words[10:14], f'{words[14]}"', *words[15:]]
    message = refusal(tmp_path, written(delimiter, texts))
    assert "lines 11 to 16 are one cell in quotes, but each line could be a row" in message


def test_lines_of_a_cell_that_may_be_rows_are_warned_of(tmp_path):
    content = 'text,label\n"a,b\nc,d\ne",1\nx,0\n'
    rows, _, warnings = opened(tmp_path, content)
    assert rows == [("a,b\nc,d\ne", "1"), ("x", "0")]
    assert "lines 2 to 4 are one cell in quotes" in warnings[0]


def test_lines_of_notes_are_not_doubted_for_their_commas(tmp_path):
    texts = [f'"fever, day {number},\n no other, complaint"' for number in range(1, 31)]
    rows, _, warnings = opened(tmp_path, written(",", texts))
    assert len(rows) == 30
    assert warnings == ()


def test_a_header_in_the_middle(tmp_path):
    content = written(",") + written(",")
    assert "line(s) 32 has the same cells as the first row" in refusal(tmp_path, content)


def test_a_file_that_changes_while_it_is_read(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("text,label\na,1\n")
    table = open_table(path)
    path.write_text("text,label\na,1,2\n")
    with pytest.raises(InputError, match="changed while it was read"):
        list(table.batches())


# ---------------------------------------------------------------- no header


@pytest.mark.parametrize(
    ("header", "is_data"),
    [
        ("id,text,label,patient", False),
        ("Nr,note,class,Patient", False),
        ("n00,fever and cough,yes,P00", True),
        ("key,fever,yes,who", True),
        ("2024-01-03,fever,maybe,who", True),
        ("n77,fever,maybe,who", True),
    ],
)
def test_a_first_row_like_the_others_is_no_header(tmp_path, header, is_data):
    path = tmp_path / "notes.csv"
    path.write_text("\n".join([header, *written(",").splitlines()[1:]]))
    assert open_table(path).names_are_data is is_data
