"""The values in a file of JSON, one after the other, however long the file is."""

import json
from collections.abc import Iterator
from enum import Enum
from typing import Any

from clinadapt.data.tables.text_file import TextFile

AT_ONCE = 2**20  # characters
LONGEST_CUT = 8  # characters of a value, such as an escape, that the end of a block may cut
SPACE = " \t\n"


class Problem(Enum):
    """What is wrong with a value."""

    NOT_JSON = "this is not valid JSON"
    NO_OBJECT = 'this is no JSON object, such as {"text": …, "label": …}'
    REPEATED_NAME = "two columns (keys) of this object have the same name"


class _RepeatedNameError(Exception):
    """Two keys of an object are the same."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise _RepeatedNameError
    return content


DECODER = json.JSONDecoder(object_pairs_hook=_object)


def is_lines(text: TextFile) -> bool:
    """Return whether each line of a file seems to be meant as a value of its own."""
    with text.open(None) as file:
        lines = (line.strip() for line in file)
        lines = (line for line in lines if line)
        first = next(lines, "")
        if first.startswith("["):
            return False
        return not isinstance(_decoded(first), Problem) or next(lines, "{").startswith("{")


def values_of_lines(text: TextFile) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value, or `Problem`, of each line that is not blank."""
    with text.open(None) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _decoded(line)


def _decoded(line: str) -> Any:
    try:
        return DECODER.decode(line)
    except _RepeatedNameError:
        return Problem.REPEATED_NAME
    except (ValueError, RecursionError):
        return Problem.NOT_JSON


def values_of_stream(text: TextFile) -> Iterator[tuple[int, Any]]:
    """Yield the values of an array, or values that follow each other, wherever lines end.

    Yields
    ------
    line : int
        Number of the line in which the value begins.
    value
        Or a `Problem`, after which nothing follows.
    """
    with text.open(None) as file:
        stream = _Stream(file)
        is_array = stream.next() == "["
        if is_array:
            stream.skip(1)
        while (character := stream.next()) and not (is_array and character == "]"):
            line = stream.line
            value = stream.value()
            yield line, value
            if isinstance(value, Problem):
                return
            if is_array and stream.next() == ",":
                stream.skip(1)
                if stream.next() == "]":
                    yield stream.line, Problem.NOT_JSON
                    return
            elif is_array and stream.next() != "]":
                yield stream.line, Problem.NOT_JSON
                return
        if is_array:
            ended = stream.next() == "]"
            stream.skip(1)
            if not ended or stream.next():
                yield stream.line, Problem.NOT_JSON


class _Stream:
    """Text that is read block by block, and where in it one is."""

    def __init__(self, file: Any) -> None:
        self.file, self.text, self.at, self.line = file, "", 0, 1

    def _more(self) -> bool:
        block = self.file.read(max(AT_ONCE, len(self.text)))
        self.text, self.at = self.text[self.at :] + block, 0
        return bool(block)

    def skip(self, characters: int) -> None:
        self.line += self.text.count("\n", self.at, self.at + characters)
        self.at += characters

    def next(self) -> str:
        """Return the next character that is no space, "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in SPACE:
                self.skip(1)
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def value(self) -> Any:
        """Return the value that begins here, or a `Problem`."""
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
            except _RepeatedNameError:
                return Problem.REPEATED_NAME
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string")
                cut = cut or error.pos + LONGEST_CUT > len(self.text)
                if cut and self._more():
                    continue
                self.skip(error.pos - self.at)
                return Problem.NOT_JSON
            except (ValueError, RecursionError):
                return Problem.NOT_JSON
            self.skip(end - self.at)
            return value
