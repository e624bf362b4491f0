"""Every sentence that people read has a French one, with the same values, typographically right."""

import re
import tomllib
from io import BytesIO
from pathlib import Path
from string import Formatter

import pytest
from babel.messages import mofile, pofile
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir

from clinadapt.core.language import DOMAIN, LANGUAGES, LOCALES, catalogue

ROOT = Path(__file__).parents[2]
KEYWORDS = {**DEFAULT_KEYWORDS, "Message": None, "translate": None, "plural": (1, 2)}
OTHERS = [code for code in LANGUAGES if code != "en"]


@pytest.fixture(scope="module")
def source():
    """The texts of the source, a plural as a pair."""
    mappings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["babel"]["mappings"]
    methods = [(one["pattern"], one["method"]) for one in mappings]
    options = {
        one["pattern"]: {key: one[key] for key in one.keys() - {"pattern", "method"}}
        for one in mappings
    }
    found = extract_from_dir(ROOT / "src" / "clinadapt", methods, options, keywords=KEYWORDS)
    return {text for _, _, text, _, _ in found if text}


@pytest.fixture(scope="module", params=OTHERS)
def translated(request):
    """The translations in a catalogue's .po file."""
    with (LOCALES / request.param / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as file:
        return pofile.read_po(file, locale=request.param)


def forms(texts):
    return [texts] if isinstance(texts, str) else list(texts)


def named(text):
    """The fields of a text: of Python's formats, and of the templates'."""
    if "%(" in text:
        return set(re.findall(r"%\((\w+)\)s", text))
    return {(name, form) for _, name, form, _ in Formatter().parse(text) if name is not None}


def test_every_text_is_translated_and_nothing_else(source, translated):
    ids = {message.id for message in translated if message.id}
    assert ids == source
    incomplete = [message.id for message in translated if not all(forms(message.string))]
    assert incomplete == []
    assert [message.id for message in translated if message.fuzzy] == []


def test_translations_have_the_fields_of_the_text(translated):
    for message in translated:
        wanted = set.union(*map(named, forms(message.id)))
        for text in forms(message.string) if message.id else ():
            assert named(text) == wanted, text


def test_what_is_compiled_is_what_is_written(translated):
    compiled = BytesIO()
    mofile.write_mo(compiled, translated)
    file = LOCALES / str(translated.locale) / "LC_MESSAGES" / f"{DOMAIN}.mo"
    assert file.read_bytes() == compiled.getvalue(), "run `make translations`"


def test_texts_are_found_at_run_time(source):
    for code in OTHERS:
        known = catalogue(code)
        for text in source:
            one, *many = forms(text)
            assert known.ngettext(one, *many, 2) if many else known.gettext(one)


def test_french_typography(translated):
    """No line begins with a sign that French parts from its word by a space."""
    if str(translated.locale) != "fr":
        pytest.skip("rules of French")
    for message in translated:
        for text in forms(message.string) if message.id else ():
            assert not re.search(r" [:;!?»]|« |['“”]|(?<=[\d}]) %", text), text
            words = re.sub(r"<[^>]*>|\{[^}]*\}", "x", text)
            assert not re.search(r"\w[;!?»]|«\w|\d%", words), text
