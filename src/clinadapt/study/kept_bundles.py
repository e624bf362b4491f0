"""The bundle of any configuration of a finished study, fitted again if it was not kept."""

import shutil
from collections.abc import Callable
from pathlib import Path

from clinadapt.core import atomic_files
from clinadapt.core.errors import InputError
from clinadapt.core.output_guard import Output, check_outputs
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.data.notes import Notes
from clinadapt.models.bundle.integrity import RECORD, foreign_files
from clinadapt.study import result_files
from clinadapt.study.read_results import LeaderboardRow, RunResult, StudyResults
from clinadapt.study.run_store import signed_score
from clinadapt.study.runner import StudyRunner, holds, link_or_copy


def find_row(study: StudyResults, name: str) -> LeaderboardRow:
    """Return a line of the leaderboard that has a result.

    Parameters
    ----------
    study : StudyResults
    name : str
        Rank on the leaderboard, name of a configuration, or its ``configuration_id``.

    Raises
    ------
    InputError
        It is of no finished configuration, or of several.
    """
    found = [
        row
        for row in study.done
        if name in (str(row.rank), row.configuration, row.configuration_id)
    ]
    if len(found) == 1:
        return found[0]
    problem = "names several configurations" if found else "is no finished configuration"
    known = "; ".join(
        f"{row.rank} {row.configuration} ({row.configuration_id})" for row in found or study.done
    )
    raise InputError(
        f"{name!r} {problem}: give a rank, a name or an id of these: {known or '(none finished)'}"
    )


def write_bundle(
    folder: Path,
    study: StudyResults,
    row: LeaderboardRow,
    target: Path,
    read: Callable[[], Notes] | None = None,
    progress: Progress = no_progress,
) -> bool:
    """Write the bundle of a configuration: that of its best seed on validation notes.

    Parameters
    ----------
    folder : Path
        The study's folder.
    study : StudyResults
        Its content.
    row : LeaderboardRow
    target : Path
        Folder of the bundle; it replaces an earlier bundle there.
    read : callable, optional
        Returns the study's notes; called only if the configuration must be fitted again.
    progress : callable

    Returns
    -------
    bool
        True if it was fitted again.

    Raises
    ------
    InputError
        The bundle was not kept and there are no notes, or other notes than the study's; or the
        target is a folder with other files.
    """
    target_is_bundle = Output(
        target, "--to", lambda path: (path / RECORD).is_file() and not foreign_files(path), True
    )
    check_outputs([target_is_bundle])
    run = _best_seed(study, row)
    places = [folder / "best", folder / "recommended", run.folder / result_files.BUNDLE]
    kept = next((place for place in places if holds(place, run.id)), None)
    if kept is not None:
        with atomic_files.atomic_folder(target, replace=True) as partial:
            shutil.copytree(kept, partial, copy_function=link_or_copy, dirs_exist_ok=True)
        return False
    if read is None:
        raise InputError(
            f"the bundle of {row.configuration} was not kept, so it has to be fitted again: give "
            "the notes of the study"
        )
    runner = _runner_of(folder, study, run, read())
    runner.hand_over(run.id, target, progress)
    return True


def _best_seed(study: StudyResults, row: LeaderboardRow) -> RunResult:
    """Return the run with the best validation score; the first one in a tie."""
    metric = study.about["metric"]

    def score(run: RunResult) -> float:
        result = result_files.read_result(run.folder / result_files.RESULT)
        return -float("inf") if result is None else signed_score(result, metric)

    runs = [run for run in study.finished if run.configuration_id == row.configuration_id]
    return max(runs, key=score)


def _runner_of(folder: Path, study: StudyResults, run: RunResult, notes: Notes) -> StudyRunner:
    """Return a study in this folder that has this run."""
    encoder = run.settings.get("encoder")
    # A study may have been given other encoders than its design names.
    for encoders in ((), (encoder,)) if encoder else ((),):
        runner = StudyRunner(notes, study.about["design"], folder, encoders)
        if any(runner.folders.id(each) == run.id for each in runner.runs):
            return runner
    raise InputError(
        f"{run.configuration} cannot be fitted again as it was: the notes, how they are read, the "
        "encoder's files or the version of clinadapt are not those of the study. Give the notes "
        "and options of the study, or run it again"
    )
