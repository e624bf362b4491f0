"""Read the texts of a table without labels."""

from dataclasses import dataclass
from typing import Any, Unpack
from warnings import warn

import numpy as np

from clinadapt.core.errors import InputError
from clinadapt.data.checks import RowNumbers
from clinadapt.data.columns import Columns, as_text, column_problems, row_ids, whole_floats
from clinadapt.data.tables.missing import MissingWords
from clinadapt.data.tables.opening import open_table
from clinadapt.data.tables.table import ReadOptions
from clinadapt.data.text_store import Texts, TextWriter


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Notes of a table without labels; `groups`, their patients, only where a column names them."""

    ids: Texts
    texts: Texts
    groups: Texts | None


def read_texts(
    source: Any, text: str = "text", id: str | None = None, **options: Unpack[ReadOptions]
) -> tuple[Texts, Texts]:
    """Read the ids and texts of an unlabelled table, for prediction.

    Parameters
    ----------
    source
        Anything that `clinadapt.data.tables.opening.open_table` opens.
    text : str
        Column of the text.
    id : str, optional
        Column of the identifier; default: row numbers.
    **options
        ``encoding``, ``delimiter`` and ``missing``: how to read the table. See
        `clinadapt.data.tables.table.ReadOptions`.

    Returns
    -------
    ids, texts : Texts, shape [note]

    Raises
    ------
    InputError
        A column, text or id is missing; messages state row numbers.
    """
    notes = read_unlabelled(source, text, id, **options)
    return notes.ids, notes.texts


def read_unlabelled(
    source: Any,
    text: str = "text",
    id: str | None = None,
    group: str | None = None,
    **options: Unpack[ReadOptions],
) -> Unlabelled:
    """Read the ids, texts and patients of an unlabelled table.

    Parameters
    ----------
    source, text, id, **options
        As in `read_texts`.
    group : str, optional
        Column of the patient.

    Raises
    ------
    InputError
        A column, text, id or patient is missing; messages state row numbers.
    """
    table = open_table(source, **options)
    columns = Columns(text=text, label=(), id=id, group=group)
    if problems := column_problems(table, columns):
        raise InputError(problems)
    whole = whole_floats(table, columns.wanted())
    ids, texts, groups = TextWriter(), TextWriter(), TextWriter()
    empty, nameless, alone = RowNumbers(), RowNumbers(), RowNumbers()
    words, seen = MissingWords(table), 0
    for batch in table.batches(columns.wanted()):
        words.add(batch, seen)
        rows = np.arange(seen + 1, seen + 1 + len(batch))
        seen += len(batch)
        values, names = as_text(batch[text], text in whole), row_ids(batch, id, rows, whole)
        empty.add(rows[values.is_null().to_numpy()])
        nameless.add(rows[(names == "").to_numpy()])
        texts.append(values.fill_null("").to_list())
        ids.append(names.to_list())
        if group is not None:
            patients = as_text(batch[group], group in whole)
            alone.add(rows[patients.is_null().to_numpy()])
            groups.append(patients.fill_null("").str.strip_chars().to_list())
    if empty:
        problems.append(f"empty text in {empty}: add the texts or leave these rows out")
    if nameless:
        problems.append(f"missing id in {nameless}")
    if alone:
        problems.append(f"missing group (column {group!r}) in {alone}")
    if problems:
        raise InputError(problems)
    tell = options.get("tell", warn)
    for warning in (*table.warnings, *words.warnings()):
        tell(warning)
    return Unlabelled(ids.finish(), texts.finish(), None if group is None else groups.finish())
