"""What the cells of a table's columns look like: to tell rows from texts, and headers from rows."""

import re
from collections.abc import Sequence

SAMPLE = 2_000  # rows
LEAST = 10  # rows, to speak of a pattern
MOST_VALUES = 50
MOST_SHAPES = 4
LONGEST = 40  # characters; longer cells are texts
WORD, DIGITS = re.compile(r"[^\W\d_]+"), re.compile(r"\d+")
NUMBER = re.compile(r"[\d\s.,:/+-]*\d[\d\s.,:/+-]*")  # also a date or a time


def shape(cell: str) -> str:
    """Return what a short cell is made of: "P-012" has the shape of "X-7", which is "a-9"."""
    return DIGITS.sub("9", WORD.sub("a", cell))


class RowShapes:
    """Values and shapes of the first rows of a table, by column.

    Parameters
    ----------
    width : int
        Number of columns.
    """

    def __init__(self, width: int) -> None:
        self.rows = 0
        self.values: list[set[str]] = [set() for _ in range(width)]
        self.shapes: list[set[str]] = [set() for _ in range(width)]
        self.texts = [False] * width

    def add(self, row: Sequence[str]) -> None:
        """Add a row, while there are not yet enough."""
        if self.rows == SAMPLE:
            return
        self.rows += 1
        for at, cell in enumerate(row):
            if len(cell) > LONGEST:
                self.texts[at] = True
                continue
            if len(self.values[at]) <= MOST_VALUES:
                self.values[at].add(cell)
            if len(self.shapes[at]) <= MOST_SHAPES:
                self.shapes[at].add(shape(cell))

    def fits(self, row: Sequence[str]) -> bool | None:
        """Return whether cells look like a row of this table, rather than like a line of a text.

        That can only be said if some column is regular: few values, or values of few shapes.

        Returns
        -------
        bool, optional
            None if it cannot be said.
        """
        if self.rows < LEAST:
            return None
        fitting = rare = 0
        for at, cell in enumerate(row):
            values, shapes = self.values[at], self.shapes[at]
            few_values = len(values) <= min(MOST_VALUES, self.rows // 4)
            few_shapes = len(shapes) <= min(MOST_SHAPES, self.rows // 5)
            if self.texts[at] or not (few_values or few_shapes):
                continue
            if " " in cell and not any(
                " " in known for known in (values if few_values else shapes)
            ):
                return False  # words, where there are codes
            rare += cell not in values if few_values else shape(cell) not in shapes
            fitting += 1
        return True if fitting and not rare else None

    def continues(self, header: Sequence[str]) -> bool:
        """Return whether a header looks like one more row: like values, not like their names."""
        for cell, values, shapes in zip(header, self.values, self.shapes, strict=True):
            like_a_code = bool(DIGITS.search(cell)) and self.rows > 1 and {shape(cell)} == shapes
            if cell.strip() and (cell in values or like_a_code or NUMBER.fullmatch(cell)):
                return True
        return False
