"""Phrase banks of the built-in notes, read from ``phrases.toml``, which explains their syntax."""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

Phrases = tuple[str, ...]


class Bank(NamedTuple):
    """Phrases with the same meaning about a condition, and the sections they may appear in."""

    sections: tuple[str, ...]
    phrases: Phrases


class Sign(NamedTuple):
    """Sign of cardiac failure: found, absent, or explained by a cause other than the heart."""

    section: str
    found: Phrases
    absent: Phrases
    explained: Phrases


def _bank(name: str) -> Bank:
    entry = _CONTENT["statements"][name]
    return Bank(tuple(entry["sections"]), tuple(entry["phrases"]))


def _sign(entry: dict[str, Any]) -> Sign:
    return Sign(entry["section"], *(tuple(entry[name]) for name in Sign._fields[1:]))


def _table(name: str) -> dict[str, Phrases]:
    return {key: tuple(phrases) for key, phrases in _CONTENT[name].items()}


_CONTENT = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

CARDIAC_FAILURE: Phrases = tuple(_CONTENT["conditions"]["cardiac_failure"])
OTHER_CONDITIONS: Phrases = tuple(_CONTENT["conditions"]["other"])
FAMILY_CONDITIONS: Phrases = tuple(_CONTENT["conditions"]["family"])

PRESENT, ABSENT, CONTRAST = _bank("present"), _bank("absent"), _bank("contrast")
WATCHED, PAST, FAMILY = _bank("watched"), _bank("past"), _bank("family")

SIGNS: tuple[Sign, ...] = tuple(_sign(entry) for entry in _CONTENT["signs"])
EJECTION_FRACTION = next(
    sign
    for sign, entry in zip(SIGNS, _CONTENT["signs"], strict=True)
    if entry.get("name") == "ejection fraction"
)

ADMISSION: Phrases = tuple(_CONTENT["rest"]["admission"])
CARDIAC_REASONS: Phrases = tuple(_CONTENT["rest"]["cardiac_reasons"])
GENERAL_REASONS: Phrases = tuple(_CONTENT["rest"]["general_reasons"])
TITLED_SECTIONS = frozenset(_CONTENT["rest"]["titled_sections"])
SECTIONS = _table("sections")
FILLERS = _table("fillers")
COMMON: dict[str, Phrases] = {"other": OTHER_CONDITIONS, **_table("common")}
