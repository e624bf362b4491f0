"""Tables written in random dialects are read back as they are, or refused; never read wrong.

With ``CLINADAPT_TRIES=2000`` in the environment, that many others are tried each time.
"""

import codecs
import gzip
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from clinadapt.core.errors import InputError
from clinadapt.data.tables.opening import open_table

TRIES = os.environ.get("CLINADAPT_TRIES")
tried = settings(
    max_examples=int(TRIES or 200),
    derandomize=TRIES is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

PIECES = [
    *",;\t|\"'\\\n\r", "\r\n", '""', '\\"', "\\n", "\u2028", "\x0b", "\x00", "\u00a0", " ", "  ",
    "#", "=", "a", "B", "7", "é", "fièvre", "38,5", "sep=;", "x\\", '"y', 'z"', ", ", "; ",
]  # fmt: skip
WIDE = ["œ", "漢", "🙂"]
PLAIN = ["a", "b", "1", "yes", "no", "n01", "n02", "toux sèche"]
NAMES = ["id", "text", "label", "patient", "Compte rendu", "âge", "x.1"]
AWKWARD_NAMES = ["a;b", "c,d", 'e"f', "g\nh", "i|j", "k\\l", '"m"']


@dataclass(frozen=True)
class Written:
    """A table, the dialect in which it is written, and how it is opened."""

    rows: list[list[str]]  # the first is the header
    delimiter: str
    style: str
    quoting: str  # of which cells: all, those that need it, none
    ends: list[str]
    final_end: bool
    encoding: str
    suffix: str
    named: str  # "", "sep=", or "forced"

    def line(self, row: list[str], end: str) -> str:
        if self.style == "unquoted":
            return self.delimiter.join(row) + end
        return self.delimiter.join(self.cell(cell, len(row) == 1) for cell in row) + end

    def cell(self, cell: str, alone: bool) -> str:
        special = any(mark in cell for mark in (self.delimiter, '"', "\n", "\r"))
        quoted = self.quoting == "all" or (special and self.quoting == "needed")
        if self.style == "doubled":
            cell = cell.replace('"', '""')
        else:
            escaped = '"' if quoted else f'"{self.delimiter}\r\n'
            cell = "".join(f"\\{mark}" if mark in f"\\{escaped}" else mark for mark in cell)
        return f'"{cell}"' if quoted or (alone and not cell.strip()) else cell

    def content(self) -> str:
        ends = [self.ends[number % len(self.ends)] for number in range(len(self.rows))]
        lines = [self.line(row, end) for row, end in zip(self.rows, ends, strict=True)]
        text = "".join(lines)
        if not self.final_end:
            text = text.removesuffix(ends[-1])
        return f"sep={self.delimiter}{self.ends[0]}" * (self.named == "sep=") + text

    def read(self, content: str, **options):
        """Return the rows that are read, or None if the file is refused; and warnings."""
        raw = content.encode(self.encoding)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"notes{self.suffix}"
            path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
            if self.named == "forced":
                options["delimiter"] = self.delimiter
            if not raw.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                options["encoding"] = self.encoding
            try:
                table = open_table(path, missing=(), **options)
                frames = [*table.batches()]
            except InputError:
                return None, ()
            assert table.count() == sum(map(len, frames))
            names = table.schema.names()
            frame = pl.concat(frames) if frames else pl.DataFrame(schema=names)
            return [names, *([cell or "" for cell in row] for row in frame.rows())], table.warnings


@st.composite
def tables(draw, names=(*NAMES, *AWKWARD_NAMES), least=0, columns=1, pieces=tuple(PIECES)):
    width = draw(st.integers(columns, 4))
    style = draw(st.sampled_from(["doubled", "doubled", "escaped", "unquoted"]))
    encodings = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]
    wide = draw(st.booleans())
    encoding = draw(st.sampled_from(encodings if wide else [*encodings, "cp1252", "latin-1"]))
    if encoding in {"cp1252", "latin-1"}:
        pieces = [
            piece for piece in pieces if piece.encode(encoding, "replace").decode(encoding) == piece
        ]
    elif wide:
        pieces = [*pieces, *WIDE]
    delimiter = "\t" if style == "unquoted" else draw(st.sampled_from(",;\t|"))
    cells = st.one_of(
        st.lists(st.sampled_from(pieces), max_size=5).map("".join), st.sampled_from(PLAIN)
    )
    if style == "unquoted":  # by its nature cannot hold all
        cells = cells.map(lambda cell: cell.translate(str.maketrans("\t\n\r", "   ")))
        cells = cells.filter(lambda cell: not (len(cell) > 1 and cell[0] == cell[-1] == '"'))
        if width == 1:
            cells = cells.filter(lambda cell: not cell.startswith('"'))
        names = [name for name in names if not set(name) & set('"\n')]
    if width == 1:  # nothing tells a name with a semicolon from two names
        names = NAMES
    header = draw(
        st.lists(st.sampled_from(list(names)), min_size=width, max_size=width, unique=True)
    )
    rows = draw(
        st.lists(st.lists(cells, min_size=width, max_size=width), min_size=least, max_size=6)
    )
    quoting = draw(
        st.sampled_from(["all", "needed"] + ["none"] * (style == "escaped" and width > 1))
    )
    all_ends = ["\n", "\r\n", "\r"]
    mixed = width > 1 and draw(st.booleans())
    return Written(
        rows=[header, *rows],
        delimiter=delimiter,
        style=style,
        quoting=quoting,
        ends=draw(st.lists(st.sampled_from(all_ends), min_size=1, max_size=3 if mixed else 1)),
        final_end=draw(st.booleans()) or rows[-1:] == [[""]],
        encoding=encoding,
        suffix=draw(st.sampled_from([".csv", ".CSV", ".tsv", ".txt", ".csv.gz"])),
        named=draw(st.sampled_from(["", "", "sep=", "forced"])),
    )


def same(found, expected, written, content):
    """Whether rows are as written; backslashes that escape nothing but each other may stay."""
    if found == expected:
        return True
    marks = ('\\"', f"\\{written.delimiter}", "\\\n", "\\\r")
    if written.style == "escaped" and not any(
        mark in content.replace("\\\\", "") for mark in marks
    ):
        doubled = [[cell.replace("\\", "\\\\") for cell in row] for row in expected]
        return found == doubled
    return False


@tried
@given(tables())
def test_a_table_is_read_as_it_was_written_or_refused(written):
    content = written.content()
    found, _ = written.read(content)
    event(f"{written.style}: {'refused' if found is None else 'read'}")
    assert found is None or same(found, written.rows, written, content), (content, found)


@tried
@given(tables(names=NAMES, columns=2), st.data())
def test_a_row_with_a_cell_too_many_or_too_few_is_not_read_without_a_word(written, data):
    at = data.draw(st.integers(1, len(written.rows)))
    width = len(written.rows[0])
    row = ["fever"] * data.draw(st.sampled_from([width - 1, width + 1]))
    damaged = Written(**{**vars(written), "rows": [*written.rows[:at], row, *written.rows[at:]]})
    found, warnings = damaged.read(damaged.content())
    assert found is None or warnings


@tried
@given(tables(names=NAMES, columns=2, least=1), st.data())
def test_a_stray_quote_merges_no_rows_without_a_word(written, data):
    assume(written.quoting != "none")
    content = written.content()
    begin = len(written.line(written.rows[0], written.ends[0]))
    at = data.draw(st.integers(min(begin, len(content)), len(content)))
    damaged = content[:at] + '"' + content[at:]
    found, warnings = written.read(damaged)
    event(f"{'refused' if found is None else 'warned' if warnings else 'read'}")
    if found is not None and not warnings:
        assert len(found) == len(written.rows), (damaged, found)
