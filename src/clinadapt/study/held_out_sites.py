"""Scores on sites that the rows have not seen: each site held out in turn.

Leave-one-group-out over a site, department or year, known for prediction models as
internal-external cross-validation (Steyerberg & Harrell 2016, "Prediction models need appropriate
internal, internal-external, and external validation"). A site's scores are pooled by
random effects (DerSimonian & Laird 1986), and the interval for a new site is the prediction
interval of Higgins, Thompson & Spiegelhalter (2009), as Debray et al. (2017) advise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from clinadapt.evaluation import metrics
from clinadapt.evaluation.paired_comparison import (
    Difference,
    Floats,
    corrected,
    difference,
)
from clinadapt.evaluation.random_effects import Pooled, pool
from clinadapt.evaluation.recommendation import Evidence
from clinadapt.study.leaderboard import Board


@dataclass(frozen=True, eq=False)
class Site:
    """What came of a study that holds a site out.

    Attributes
    ----------
    name : str
    board : Board
    evidence : Evidence
        Of the board; every row that is complete.
    """

    name: str
    board: Board
    evidence: Evidence


class Sites:
    """Rows of a study on sites that they have not seen.

    Parameters
    ----------
    column : str
    whole : Evidence
        Of the study in which no site is held out.
    boards : mapping of str to Board
        Of each site. Those without a complete row are told as refused.
    refused : mapping of str to str
        Sites that could not be held out, and why.
    """

    def __init__(
        self,
        column: str,
        whole: Evidence,
        boards: Mapping[str, Board],
        refused: Mapping[str, str],
    ) -> None:
        self.column, self.whole = column, whole
        self.sites = [
            Site(name, board, board.evidence)
            for name, board in boards.items()
            if board.evidence is not None
        ]
        unfinished = dict.fromkeys(boards, "no row finished") | dict(refused)
        known = {site.name for site in self.sites}
        self.refused = {name: why for name, why in unfinished.items() if name not in known}
        self.rows = {
            row: entrant.label
            for row, entrant in whole.by_id.items()
            if self.sites and all(row in site.evidence.by_id for site in self.sites)
        }
        self.sign = metrics.sign(whole.metric)

    @cached_property
    def pooled(self) -> dict[str, Pooled]:
        """Each row's score on a site that it has not seen."""
        return {row: pool(*self._scores(row)) for row in self.rows}

    def _scores(self, row: str) -> tuple[Floats, Floats]:
        """Score of a row on each site where it is defined, and its standard error [site]."""
        values = np.array([site.evidence.scores.value[row] for site in self.sites])
        errors = np.array(
            [np.nanstd(site.evidence.scores.resampled[row], ddof=1) for site in self.sites]
        )
        known = ~np.isnan(values) & ~np.isnan(errors)
        return values[known], errors[known]

    @cached_property
    def chosen(self) -> str | None:
        """The row that the whole study recommends, or else the one that leads there."""
        first = self.whole.recommended or self.whole.leader
        return first.row_id if first.row_id in self.rows else next(iter(self.rows), None)

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """Of the chosen row from each other, mean over sites, corrected together."""
        if self.chosen is None:
            return {}
        others = [row for row in self.rows if row != self.chosen]
        freedom = sum(site.evidence.scores.freedom for site in self.sites)
        found = [
            difference(
                self.sign * (self._mean(self.chosen)[0] - self._mean(row)[0]),
                self.sign * (self._mean(self.chosen)[1] - self._mean(row)[1]),
                freedom,
            )
            for row in others
        ]
        return dict(zip(others, corrected(found), strict=True))

    def _mean(self, row: str) -> tuple[float, Floats]:
        """Mean over sites, on all notes and on each resample of their patients [resample]."""
        scores = [site.evidence.scores for site in self.sites]
        resampled = np.mean([found.resampled[row] for found in scores], axis=0)
        return float(np.mean([found.value[row] for found in scores])), resampled

    # ------------------------------------------------------------------ words

    def sentences(self) -> list[str]:
        """How the chosen row does on a new site, and whether another does better there."""
        if self.chosen is None or not len(self._scores(self.chosen)[0]):
            return [f"No row has a score on every value of {self.column}."]
        return [self._of_new_site(self.chosen), *self._of_others(self.rows[self.chosen])]

    def _of_new_site(self, row: str) -> str:
        found = self.pooled[row]
        scored = {site.name: site.evidence.scores.value[row] for site in self.sites}
        ends = {name: value for name, value in scored.items() if not np.isnan(value)}
        worst, best = (pick(ends, key=lambda n: self.sign * ends[n]) for pick in (min, max))
        spread = f"from {ends[worst]:.3f} ({worst}) to {ends[best]:.3f} ({best})"
        known = self.whole.scores.value[row]
        told = (
            f"On a {self.column} that it has not seen, {self.rows[row]} scores {found.value:.3f} "
            f"[{found.low:.3f}, {found.high:.3f}] over {len(ends)} of them, {spread}; on other "
            f"patients of those that it knows, {known:.3f}."
        )
        if np.isnan(found.new_low):
            return f"{told} With so few of them nothing can be said of the next."
        return (
            f"{told} A new one should score between {max(0.0, found.new_low):.3f} and "
            f"{min(1.0, found.new_high):.3f}, in 95 of 100 cases."
        )

    def _of_others(self, label: str) -> Iterator[str]:
        sure = {row: item.value for row, item in self.differences.items() if item.different}
        for verdict, sign in (("better", 1), ("worse", -1)):
            named = [self.rows[row] for row, value in sure.items() if sign * value > 0]
            if named:
                yield f"Across them {label} does {verdict} than {', '.join(named)}."
        unsure = len(self.differences) - len(sure)
        if unsure:
            yield f"{unsure} other row(s) cannot be told from it there."

    def to_json(self) -> dict[str, Any]:
        """Everything, for ``sites.json``."""
        return {
            "column": self.column,
            "sentences": self.sentences(),
            "sites": [
                {
                    "site": site.name,
                    "notes": len(site.board.test),
                    "patients": len(np.unique(site.board.test.clusters)),
                    "learned_from": site.board.labelled,
                }
                for site in self.sites
            ],
            "refused": [{"site": name, "reason": why} for name, why in self.refused.items()],
            "rows": [self._row(row, label) for row, label in self.rows.items()],
        }

    def _row(self, row: str, label: str) -> dict[str, Any]:
        found = []
        for site in self.sites:
            low, high = metrics.interval(site.evidence.scores.resampled[row])
            found.append({"value": site.evidence.scores.value[row], "low": low, "high": high})
        against = self.differences.get(row)
        return {
            "row_id": row,
            "row": label,
            "sites": found,
            "pooled": asdict(self.pooled[row]),
            "against_chosen": None if against is None else against.to_json(),
        }
