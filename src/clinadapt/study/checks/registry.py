"""Every check by its code, how they are run, and what of it a study keeps.

Codes from CLA001 need notes only, those from CLA101 a finished study. A code keeps its meaning for
ever; that of a check that is gone is not used again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinadapt.core.atomic_files import write_csv, write_json
from clinadapt.core.errors import InputError
from clinadapt.core.messages import Message
from clinadapt.data.notes import Notes
from clinadapt.data.split import Split, make_split
from clinadapt.study.checks import (
    duplicates,
    label_noise,
    label_order,
    rare_classes,
    search_edge,
    slower_than_tfidf,
    telltale_words,
    templates,
    time_overlap,
)
from clinadapt.study.checks.contract import Check, Finding, Subject
from clinadapt.study.read_results import load
from clinadapt.study.result_files import CHECKS as FILE
from clinadapt.study.result_files import LABELS_TO_CHECK

CHECKS = (
    Check("CLA001", Message("A word gives the label away"), telltale_words.give_away),
    Check("CLA002", Message("Labels follow the date"), label_order.follow_dates, "dates"),
    Check("CLA003", Message("Labels follow the order of the table"), label_order.follow_rows),
    Check("CLA004", Message("Labels follow the length"), label_order.follow_length),
    Check("CLA005", Message("Labels follow a template"), templates.follow_template),
    Check("CLA006", Message("Parts overlap in time"), time_overlap.overlap, "dates"),
    Check(
        "CLA007", Message("Notes are repeated across parts"), duplicates.repeated_across_patients
    ),
    Check("CLA008", Message("A class has few patients"), rare_classes.too_few_patients),
    Check("CLA101", Message("Labels to look at again"), label_noise.look_again, "results"),
    Check(
        "CLA102",
        Message("Slower and no better than TF-IDF"),
        slower_than_tfidf.slower_and_no_better,
        "results",
    ),
    Check("CLA103", Message("A search ended at its edge"), search_edge.at_the_edge, "results"),
)
CODES = tuple(check.code for check in CHECKS)


@dataclass(frozen=True)
class Checked:
    """Result of the checks.

    Attributes
    ----------
    findings : list of Finding
        In the order of the codes.
    passed, ignored, not_applicable : list of str
        Codes of checks that found nothing, that were silenced, and that lack what they need: a
        column of dates, or a finished study.
    notes, read : int
        Number of notes, and of those whose texts were read.
    """

    findings: list[Finding]
    passed: list[str]
    ignored: list[str]
    not_applicable: list[str]
    notes: int
    read: int

    def to_json(self) -> dict[str, Any]:
        """Return the result as values."""
        return {**vars(self), "findings": [finding.to_json() for finding in self.findings]}


def unknown_codes(codes: Iterable[str]) -> str | None:
    """Return a sentence about codes that are of no check; None if all are known."""
    unknown = [code for code in dict.fromkeys(codes) if code not in CODES]
    if not unknown:
        return None
    return Message(
        "no check has the code {unknown}: known are {known}",
        unknown=[repr(code) for code in unknown],
        known=list(CODES),
    )


def require_known(codes: Iterable[str]) -> None:
    """Raise an `InputError` that names the known codes, if one is unknown."""
    if problem := unknown_codes(codes):
        raise InputError(problem)


def run_checks(subject: Subject, ignore: Iterable[str] = ()) -> Checked:
    """Run every check that applies and is not silenced.

    Parameters
    ----------
    subject : Subject
    ignore : iterable of str
        Codes to leave out.

    Raises
    ------
    InputError
        A code is of no check.
    """
    silenced = set(ignore)
    require_known(silenced)
    findings, passed, not_applicable = [], [], []
    for check in CHECKS:
        if check.code in silenced:
            continue
        if not subject.has(check.needs):
            not_applicable.append(check.code)
            continue
        sentence = check.find(subject)
        if sentence is None:
            passed.append(check.code)
        else:
            findings.append(Finding(check.code, check.title, sentence))
    return Checked(
        findings,
        passed,
        [code for code in CODES if code in silenced],
        not_applicable,
        len(subject.notes),
        len(subject.sample),
    )


def check_notes(notes: Notes, ignore: Iterable[str] = ()) -> list[Finding]:
    """Return what is wrong with notes that a study of them would suffer from; no model is needed.

    Parameters
    ----------
    notes : Notes
    ignore : iterable of str
        Codes of checks to leave out.

    Returns
    -------
    list of Finding
        Each has `code`, `title` and `sentence`, without text of notes.

    Raises
    ------
    InputError
        A code is of no check, or the notes cannot be split.

    Examples
    --------
    >>> from clinadapt import Columns, check_notes, read_notes
    >>> from clinadapt.data.synthetic.generator import generate
    >>> table = generate(240, 80, 96).sort("label")
    >>> notes = read_notes(table, Columns(id="id", group="patient"))
    >>> [finding.code for finding in check_notes(notes)]
    ['CLA003']
    >>> check_notes(notes, ignore=["CLA003"])
    []
    """
    return run_checks(Subject(notes, make_split(notes)), ignore).findings


def write_checks(out: Path, notes: Notes, split: Split, ignore: Iterable[str]) -> None:
    """Run all checks on a finished study, and write ``checks.json`` and the labels to look at.

    Parameters
    ----------
    out : Path
        The study's folder.
    notes : Notes
    split : Split
    ignore : iterable of str
        Codes of checks to leave out.
    """
    (out / FILE).unlink(missing_ok=True)  # that of before is not one of the results
    results = load(out)
    write_json(out / FILE, run_checks(Subject(notes, split, results), ignore).to_json())
    found = None if "CLA101" in set(ignore) else label_noise.doubted_labels(results)
    if found is None:
        (out / LABELS_TO_CHECK).unlink(missing_ok=True)
    else:
        write_csv(found.table, out / LABELS_TO_CHECK)
