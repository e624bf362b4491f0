"""Every check finds its fault and nothing else, has a page, and can be silenced."""

import json
import re
from pathlib import Path

import pytest
from faulty import COLUMNS, examples, sound_subject, table

from clinadapt import check_notes, read_notes
from clinadapt.core.errors import InputError
from clinadapt.study.checks.registry import CHECKS, CODES, run_checks
from clinadapt.study.design import load_design

PAGES = Path(__file__).parents[3] / "docs" / "checks"
each_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)


@each_check
def test_it_finds_its_fault_and_only_that(check, tmp_path):
    faulty, sound = examples(check.code, tmp_path)
    sentence = check.find(faulty)
    assert sentence is not None
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert re.search(r"\d", sentence)  # with numbers
    assert check.find(sound) is None


@each_check
def test_it_is_silenced_by_its_code(check, tmp_path):
    faulty, _ = examples(check.code, tmp_path)
    others = [code for code in CODES if code != check.code]
    assert [finding.code for finding in run_checks(faulty, others).findings] == [check.code]
    silenced = run_checks(faulty, CODES)
    assert silenced.findings == []
    assert silenced.ignored == list(CODES)


@each_check
def test_it_has_a_page(check):
    text = (PAGES / f"{check.code}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {check.code}: {check.title}\n")
    assert "## What to do" in text


def test_codes_are_in_order_and_each_once():
    assert list(CODES) == sorted(set(CODES))
    assert {page.stem for page in PAGES.glob("CLA*.md")} == set(CODES)


def test_an_unknown_code_is_an_error_that_names_the_known_ones():
    notes = read_notes(table(), COLUMNS)
    with pytest.raises(InputError, match=r"'CLA999'.*CLA001, CLA002"):
        check_notes(notes, ignore=["CLA999"])
    with pytest.raises(InputError, match=r"ignore: .*'CLA999'.*CLA001"):
        load_design({"name": "x", "configurations": [{}], "ignore": ["CLA999"]})


def test_checks_that_lack_what_they_need_are_told_apart_from_those_that_pass():
    checked = run_checks(sound_subject())
    assert checked.not_applicable == ["CLA101", "CLA102", "CLA103"]
    assert [one.code for one in checked.findings] == ["CLA006"]
    assert sorted([*checked.passed, *checked.not_applicable, "CLA006"]) == list(CODES)
    undated = read_notes(table().drop("date"), type(COLUMNS)(id="id", group="patient"))
    assert check_notes(undated) == []


def test_what_is_written_holds_no_word_of_a_note(tmp_path):
    faulty, _ = examples("CLA001", tmp_path)
    assert "codage" not in json.dumps(run_checks(faulty).to_json(), ensure_ascii=False).lower()
