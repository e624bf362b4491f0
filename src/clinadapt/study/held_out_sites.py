"""Scores on sites that the configurations have not seen: each site held out in turn.

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
from clinadapt.study.leaderboard import Leaderboard


@dataclass(frozen=True, eq=False)
class Site:
    """What came of a study that holds a site out.

    Attributes
    ----------
    name : str
    board : Leaderboard
    evidence : Evidence
        Of the board; every configuration that is complete.
    """

    name: str
    board: Leaderboard
    evidence: Evidence


class Sites:
    """Configurations of a study on sites that they have not seen.

    Parameters
    ----------
    column : str
    whole : Evidence
        Of the study in which no site is held out.
    boards : mapping of str to Leaderboard
        Of each site. Those without a complete configuration are told as refused.
    refused : mapping of str to str
        Sites that could not be held out, and why.
    """

    def __init__(
        self,
        column: str,
        whole: Evidence,
        boards: Mapping[str, Leaderboard],
        refused: Mapping[str, str],
    ) -> None:
        self.column, self.whole = column, whole
        self.sites = [
            Site(name, board, board.evidence)
            for name, board in boards.items()
            if board.evidence is not None
        ]
        unfinished = dict.fromkeys(boards, "no configuration finished") | dict(refused)
        known = {site.name for site in self.sites}
        self.refused = {name: why for name, why in unfinished.items() if name not in known}
        self.configurations = {
            configuration: entrant.label
            for configuration, entrant in whole.by_id.items()
            if self.sites and all(configuration in site.evidence.by_id for site in self.sites)
        }
        self.sign = metrics.sign(whole.metric)

    @cached_property
    def pooled(self) -> dict[str, Pooled]:
        """Each configuration's score on a site that it has not seen."""
        return {
            configuration: pool(*self._scores(configuration))
            for configuration in self.configurations
        }

    def _scores(self, configuration: str) -> tuple[Floats, Floats]:
        """Score of a configuration on each site where it is defined, and its standard error [site]."""
        values = np.array([site.evidence.scores.value[configuration] for site in self.sites])
        errors = np.array(
            [
                np.nanstd(site.evidence.scores.resampled[configuration], ddof=1)
                for site in self.sites
            ]
        )
        known = ~np.isnan(values) & ~np.isnan(errors)
        return values[known], errors[known]

    @cached_property
    def chosen(self) -> str | None:
        """The configuration that the whole study recommends, or else the one that leads there."""
        first = self.whole.recommended or self.whole.leader
        return (
            first.configuration_id
            if first.configuration_id in self.configurations
            else next(iter(self.configurations), None)
        )

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """Of the chosen configuration from each other, mean over sites, corrected together."""
        if self.chosen is None:
            return {}
        others = [
            configuration for configuration in self.configurations if configuration != self.chosen
        ]
        freedom = sum(site.evidence.scores.freedom for site in self.sites)
        found = [
            difference(
                self.sign * (self._mean(self.chosen)[0] - self._mean(configuration)[0]),
                self.sign * (self._mean(self.chosen)[1] - self._mean(configuration)[1]),
                freedom,
            )
            for configuration in others
        ]
        return dict(zip(others, corrected(found), strict=True))

    def _mean(self, configuration: str) -> tuple[float, Floats]:
        """Mean over sites, on all notes and on each resample of their patients [resample]."""
        scores = [site.evidence.scores for site in self.sites]
        resampled = np.mean([found.resampled[configuration] for found in scores], axis=0)
        return float(np.mean([found.value[configuration] for found in scores])), resampled

    # ------------------------------------------------------------------ words

    def sentences(self) -> list[str]:
        """How the chosen configuration does on a new site, and whether another does better there."""
        if self.chosen is None or not len(self._scores(self.chosen)[0]):
            return [f"No configuration has a score on every value of {self.column}."]
        return [self._of_new_site(self.chosen), *self._of_others(self.configurations[self.chosen])]

    def _of_new_site(self, configuration: str) -> str:
        found = self.pooled[configuration]
        scored = {site.name: site.evidence.scores.value[configuration] for site in self.sites}
        ends = {name: value for name, value in scored.items() if not np.isnan(value)}
        worst, best = (pick(ends, key=lambda n: self.sign * ends[n]) for pick in (min, max))
        spread = f"from {ends[worst]:.3f} ({worst}) to {ends[best]:.3f} ({best})"
        known = self.whole.scores.value[configuration]
        told = (
            f"On a {self.column} that it has not seen, {self.configurations[configuration]} scores {found.value:.3f} "
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
        sure = {
            configuration: item.value
            for configuration, item in self.differences.items()
            if item.different
        }
        for verdict, sign in (("better", 1), ("worse", -1)):
            named = [
                self.configurations[configuration]
                for configuration, value in sure.items()
                if sign * value > 0
            ]
            if named:
                yield f"Across them {label} does {verdict} than {', '.join(named)}."
        unsure = len(self.differences) - len(sure)
        if unsure:
            yield f"{unsure} other configuration(s) cannot be told from it there."

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
            "configurations": [
                self._row(configuration, label)
                for configuration, label in self.configurations.items()
            ],
        }

    def _row(self, configuration: str, label: str) -> dict[str, Any]:
        found = []
        for site in self.sites:
            low, high = metrics.interval(site.evidence.scores.resampled[configuration])
            found.append(
                {"value": site.evidence.scores.value[configuration], "low": low, "high": high}
            )
        against = self.differences.get(configuration)
        return {
            "configuration_id": configuration,
            "configuration": label,
            "sites": found,
            "pooled": asdict(self.pooled[configuration]),
            "against_chosen": None if against is None else against.to_json(),
        }
