"""Refits of a study on other splits: fewer labelled notes, and each site held out."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product

from clinadapt.core import atomic_files
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Progress
from clinadapt.data.site_split import hold_out
from clinadapt.data.split import Split, thinned
from clinadapt.study import result_files
from clinadapt.study.held_out_sites import Sites
from clinadapt.study.leaderboard import Leaderboard, learning_curves
from clinadapt.study.setup import StudySetup

# Fits the study's runs with another split, in a folder below the study's own.
FitRuns = Callable[[Split, str], Leaderboard]
SIZES, SITES = SUBSTUDIES = "sizes", "sites"  # names of folders and of progress stages


def write_curves(
    study: StudySetup, full: Leaderboard, fit_runs: FitRuns, progress: Progress
) -> None:
    """Fit the configurations on fewer labelled notes, and write ``curves.json``."""
    path = study.out / result_files.CURVES
    if study.design.curve is None:
        path.unlink(missing_ok=True)  # left by an earlier design
        return
    shares, draws = sorted(study.design.curve.shares), study.design.curve.draws
    boards: list[list[Leaderboard]] = []
    for number, (share, draw) in enumerate(product(shares, range(draws))):
        progress(SIZES, number, len(shares) * draws)
        split = thinned(study.split, study.notes, share, draw)
        if not draw:
            boards.append([])
        boards[-1].append(_without_bundles(fit_runs(split, f"{SIZES}/{share:g}-{draw}")))
    progress(SIZES, len(shares) * draws, len(shares) * draws)
    atomic_files.write_json(path, learning_curves([*boards, [full]]).to_json())


def write_sites(
    study: StudySetup, full: Leaderboard, fit_runs: FitRuns, progress: Progress
) -> None:
    """Fit the configurations with each site held out in turn, and write ``sites.json``."""
    path = study.out / result_files.SITES
    if study.sites is None or full.evidence is None:
        path.unlink(missing_ok=True)  # left by an earlier run
        return
    boards, refused = {}, {}
    for number, site in enumerate(study.site_names):
        progress(SITES, number, len(study.site_names))
        try:
            split = hold_out(
                study.notes,
                study.sites,
                site,
                study.design.validation_fraction,
                study.design.split_seed,
            )
        except InputError as error:
            refused[site] = "; ".join(error.problems)
            continue
        # Folders are numbered: a site's name may not be a valid path.
        board = _without_bundles(fit_runs(split, f"{SITES}/{number + 1}"))
        boards[site] = replace(board, draw=number + 1)
    progress(SITES, len(study.site_names), len(study.site_names))
    atomic_files.write_json(path, Sites(study.sites, full.evidence, boards, refused).to_json())


def _without_bundles(board: Leaderboard) -> Leaderboard:
    """Delete the bundles of a refit: only its scores are kept."""
    for bundle in board.folders.root.glob(f"{result_files.RUNS}/*/{result_files.BUNDLE}"):
        shutil.rmtree(bundle)
    return board
