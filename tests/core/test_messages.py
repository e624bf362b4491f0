"""Sentences that are English in files and errors, and French where they are shown."""

import copy
import pickle

import pytest

from clinadapt.core import atomic_files, formatting
from clinadapt.core.errors import InputError
from clinadapt.core.language import (
    LANGUAGES,
    catalogue,
    language,
    of_environment,
    set_language,
    use_language,
)
from clinadapt.core.messages import Message, plural, shown


@pytest.fixture
def translated(monkeypatch):
    """A few translations that do not change."""
    texts = {
        "{first} beats {others}": "{first} devance {others}",
        "{count} note of {share:.0%}": "{count} compte rendu sur {share:.0%}",
        "all": "tous",
    }
    french = catalogue("fr")
    many = {1: "un compte rendu", 2: "{count:,} comptes rendus"}
    monkeypatch.setattr(french, "gettext", lambda text: texts.get(text, text))
    monkeypatch.setattr(french, "ngettext", lambda one, _, count: many[1 if count < 2 else 2])


def test_a_message_is_english_text_until_it_is_shown(translated):
    message = Message("{first} beats {others}", first="A {b}", others=[Message("all"), "C"])
    assert message == "A {b} beats all, C"
    assert shown(message) == "A {b} beats all, C"
    with use_language("fr"):
        assert message == f"{message}" == "A {b} beats all, C"
        assert shown(message) == "A {b} devance tous, C"


def test_numbers_have_the_marks_of_the_language(translated):
    message = Message("{count} note of {share:.0%}", count=3, share=0.95)
    assert message == "3 note of 95%"
    with use_language("fr"):
        assert shown(message) == "3 compte rendu sur 95\u00a0%"


def test_plurals_follow_the_language(translated):
    none, several = (plural("{count:,} note", "{count:,} notes", count=n) for n in (0, 1200))
    assert (none, several) == ("0 notes", "1,200 notes")
    with use_language("fr"):
        assert (shown(none), shown(several)) == ("un compte rendu", "1\u202f200 comptes rendus")


def test_a_template_reaches_no_attribute():
    with pytest.raises(KeyError):
        Message("{first.__class__}", first="A")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_is_the_same_message(copied, translated):
    message = copied(Message("{first} beats {others}", first="A", others=["B"]))
    with use_language("fr"):
        assert shown(message) == "A devance B"


def test_files_hold_english_and_what_it_was_made_of(tmp_path, translated):
    message = Message("{first} beats {others}", first="A", others=[Message("all"), "C"])
    atomic_files.write_json(tmp_path / "a.json", {"said": [message], "name": "A"})
    assert '"A beats all, C"' in (tmp_path / "a.json").read_text()
    content = atomic_files.read_json(tmp_path / "a.json")
    assert content["said"] == ["A beats all, C"]
    with use_language("fr"):
        assert shown(content["said"][0]) == "A devance tous, C"


@pytest.mark.parametrize(
    "made",
    [None, [], {}, {"template": "{a}", "fields": {}}, {"template": "x", "fields": {"a": {}}}],
)
def test_a_file_that_describes_a_message_wrongly_keeps_its_text(tmp_path, made):
    content = {"said": "A", "messages": {"A": made}}
    atomic_files.write_json(tmp_path / "a.json", content)
    assert atomic_files.read_json(tmp_path / "a.json") == content


def test_the_language_of_a_block_ends_with_it():
    assert language() == "en"
    with use_language("fr"), use_language("en"):
        assert language() == "en"
    assert language() == "en"
    set_language("fr")
    try:
        assert language() == "fr"
    finally:
        set_language("en")


def test_an_unknown_language_is_refused():
    with pytest.raises(InputError, match="unknown language 'de': expected one of en, fr"):
        set_language("de")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE", "LC_MESSAGES": "fr_CA@euro"}, "fr"),
        ({"LANG": "en_GB", "LANGUAGE": "de:fr:en"}, "fr"),
        ({"LANG": "fr_FR", "LANGUAGE": "en_GB:en:fr"}, "en"),
    ],
)
def test_the_environment_chooses_as_gettext_reads_it(variables, expected, monkeypatch):
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert of_environment() == expected


def test_numbers_in_french():
    with use_language("fr"):
        assert formatting.score(-0.8125) == "−0,812"
        assert formatting.count(1234567) == "1\u202f234\u202f567"
        assert formatting.share(0.951) == "95,1\u00a0%"
        assert formatting.points(0.0123) == "+1,2"
        assert formatting.size(1.94e9) == "1,94 Go"
        assert formatting.seconds(12.34) == "12,3 s"
        assert formatting.parameters(2.5e9) == "2,5 Md"
        assert formatting.p(0.0001) == "< 0,001"
    assert set(LANGUAGES) == {"en", "fr"}
