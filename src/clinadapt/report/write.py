"""Write a study's report: the page, its numbers as data files, the reporting checklist."""

from __future__ import annotations

from pathlib import Path

from clinadapt.core.atomic_files import write_text
from clinadapt.core.language import known, use_language
from clinadapt.core.machine_faults import machine_faults_told
from clinadapt.report import export, tripod_ai
from clinadapt.report.page import page
from clinadapt.study.read_results import load


def write_report(study_dir: Path, language: str | None = None) -> Path:
    """Write a study's report.

    The page speaks English and French; the other files are in English.

    Parameters
    ----------
    study_dir : Path
        A study's folder, with ``study.json``, ``leaderboard.csv`` and ``cells/``.
    language : {"en", "fr"}, optional
        Language in which the page opens, and that of the checklist; by default, the page opens in
        the language of the browser, and the checklist is in English.

    Returns
    -------
    Path
        ``study_dir / "report.html"``, replaced atomically. ``report.json``, ``tables/`` in CSV and
        LaTeX, and the reporting checklist are written to the same folder.

    Raises
    ------
    NoStudyError
        If the folder holds no study.
    InputError
        A file is damaged, or in a format that this version does not read; there is no translation
        into `language`.
    MachineError
        The disk is full, or another fault of the machine.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from clinadapt import Columns, Study, read_notes, write_report
    >>> from clinadapt.data.synthetic.generator import generate
    >>> notes = read_notes(generate(240, 80, 96), Columns(id="id", group="patient"))
    >>> design = {"name": "one", "configurations": [{"model": "tfidf-logistic"}]}
    >>> with TemporaryDirectory() as folder:
    ...     study = Study(notes, design, f"{folder}/out").run()
    ...     write_report(Path(folder) / "out").name
    'report.html'
    """
    study = load(study_dir)
    html = page(study, None if language is None else known(language))
    target = study_dir / "report.html"
    with machine_faults_told(study_dir, at_work=True):
        with use_language("en"):
            export.write(study, study_dir)
        with use_language(language or "en"):
            write_text(study_dir / tripod_ai.FILE, tripod_ai.checklist(study))
        write_text(target, html)
    return target
