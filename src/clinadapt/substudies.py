"""The same study on other splits: on fewer labelled notes, and with each site held out."""

import shutil
from itertools import product
from typing import TYPE_CHECKING

from clinadapt import results
from clinadapt.board import Board, learning_curves
from clinadapt.core import atomic_files
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Finished, Progress
from clinadapt.data.site_split import hold_out
from clinadapt.data.split import thinned
from clinadapt.sites import Sites

if TYPE_CHECKING:
    from clinadapt.study import Study

SIZES, SITES = SUBSTUDIES = "sizes", "sites"  # folders, and the names of the stages


def write_curves(
    study: "Study", whole: Board, progress: Progress, finished: Finished, retry: bool
) -> None:
    """Run the rows on smaller amounts of labelled notes, and write ``curves.json``."""
    path = study.out / results.CURVES
    if study.design.curve is None:
        path.unlink(missing_ok=True)  # of an earlier design
        return
    shares, draws = sorted(study.design.curve.shares), study.design.curve.draws
    boards: list[list[Board]] = []
    for number, (share, draw) in enumerate(product(shares, range(draws))):
        progress(SIZES, number, len(shares) * draws)
        small = study.under(
            thinned(study.split, study.notes, share, draw), f"{SIZES}/{share:g}-{draw}"
        )
        if not draw:
            boards.append([])
        boards[-1].append(_scored(small, progress, finished, retry))
    progress(SIZES, len(shares) * draws, len(shares) * draws)
    atomic_files.write_json(path, learning_curves([*boards, [whole]]).to_json())


def write_sites(
    study: "Study", whole: Board, progress: Progress, finished: Finished, retry: bool
) -> None:
    """Run the rows with each site held out in turn, and write ``sites.json``."""
    path = study.out / results.SITES
    if study.sites is None or whole.evidence is None:
        path.unlink(missing_ok=True)  # of an earlier run
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
        # The number, not the name: that may hold anything, and must not become a path.
        other = study.under(split, f"{SITES}/{number + 1}")
        boards[site] = _scored(other, progress, finished, retry)
    progress(SITES, len(study.site_names), len(study.site_names))
    atomic_files.write_json(path, Sites(study.sites, whole.evidence, boards, refused).to_json())


def _scored(study: "Study", progress: Progress, finished: Finished, retry: bool) -> Board:
    """Fit the cells of a substudy, of which only the scores are kept."""

    def stages(stage: str, done: int, total: int) -> None:
        if stage != "cells":  # these are the whole study's
            progress(stage, done, total)

    board = study.fit_cells(stages, finished, retry)
    for bundle in study.out.glob(f"{results.CELLS}/*/{results.BUNDLE}"):
        shutil.rmtree(bundle)
    return board
