"""Scores on sites not seen in training: each site is held out in turn.

Leave-one-group-out over a site, department or year is known for prediction models as
internal-external cross-validation (Steyerberg & Harrell 2016, "Prediction models need appropriate
internal, internal-external, and external validation"). The sites' scores are pooled by random
effects (DerSimonian & Laird 1986) with the interval of Hartung & Knapp (2001), and the interval for
a new site is the prediction interval of Higgins, Thompson & Spiegelhalter (2009), as Debray et al.
(2017) advise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from clinadapt.core.arrays import Floats
from clinadapt.core.messages import Message, plural
from clinadapt.evaluation import metrics
from clinadapt.evaluation.paired_comparison import Difference, corrected, difference
from clinadapt.evaluation.random_effects import Pooled, pool
from clinadapt.evaluation.recommendation import Evidence
from clinadapt.study.leaderboard import Leaderboard

BETTER = Message(
    "Averaged over every held-out {column}, {label} is significantly better than {others}."
)
WORSE = Message(
    "Averaged over every held-out {column}, {label} is significantly worse than {others}."
)


@dataclass(frozen=True, eq=False)
class Site:
    """Results of a study with one site held out.

    Attributes
    ----------
    name : str
    board : Leaderboard
    evidence : Evidence
        Comparison of the complete configurations on the site's notes.
    """

    name: str
    board: Leaderboard
    evidence: Evidence


class Sites:
    """Scores of a study's configurations on sites not seen in training.

    Parameters
    ----------
    column : str
        Column of the sites, such as "site", "department" or "year".
    full : Evidence
        Comparison in the study in which no site is held out.
    boards : mapping of str to Leaderboard
        Leaderboard of each site; one without a complete configuration is listed as refused.
    refused : mapping of str to str
        Sites that could not be held out, and why.
    """

    def __init__(
        self,
        column: str,
        full: Evidence,
        boards: Mapping[str, Leaderboard],
        refused: Mapping[str, str],
    ) -> None:
        self.column, self.full = column, full
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
            for configuration, entrant in full.by_id.items()
            if self.sites and all(configuration in site.evidence.by_id for site in self.sites)
        }
        self.sign = metrics.sign(full.metric)

    @cached_property
    def pooled(self) -> dict[str, Pooled]:
        """Each configuration's score on sites not seen in training, pooled over the sites."""
        return {
            configuration: pool(*self._scores(configuration))
            for configuration in self.configurations
        }

    def _scores(self, configuration: str) -> tuple[Floats, Floats]:
        """Return a configuration's defined scores and their standard errors [site]."""
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
        """Id of the configuration that the full study recommends, or else of its leader."""
        first = self.full.recommended or self.full.leader
        return (
            first.configuration_id
            if first.configuration_id in self.configurations
            else next(iter(self.configurations), None)
        )

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """Chosen configuration minus each other, mean over sites, corrected together."""
        if self.chosen is None:
            return {}
        others = [
            configuration for configuration in self.configurations if configuration != self.chosen
        ]
        freedom = sum(site.evidence.scores.freedom for site in self.sites)
        uncorrected = [
            difference(
                self.sign * (self._mean(self.chosen)[0] - self._mean(configuration)[0]),
                self.sign * (self._mean(self.chosen)[1] - self._mean(configuration)[1]),
                freedom,
            )
            for configuration in others
        ]
        return dict(zip(others, corrected(uncorrected), strict=True))

    def _mean(self, configuration: str) -> tuple[float, Floats]:
        """Return the mean score over sites, and that of each resample of patients [resample]."""
        scores = [site.evidence.scores for site in self.sites]
        resampled = np.mean([site.resampled[configuration] for site in scores], axis=0)
        return float(np.mean([site.value[configuration] for site in scores])), resampled

    # ------------------------------------------------------------------ words

    def sentences(self) -> list[str]:
        """Describe the chosen configuration on a new site, and compare it with the others there."""
        if self.chosen is None or not len(self._scores(self.chosen)[0]):
            return [Message("No configuration has a score on every {column}.", column=self.column)]
        return [self._of_new_site(self.chosen), *self._of_others(self.configurations[self.chosen])]

    def _of_new_site(self, configuration: str) -> str:
        pooled = self.pooled[configuration]
        scored = {site.name: site.evidence.scores.value[configuration] for site in self.sites}
        ends = {name: value for name, value in scored.items() if not np.isnan(value)}
        worst, best = (pick(ends, key=lambda n: self.sign * ends[n]) for pick in (min, max))
        said = {
            "column": self.column,
            "label": self.configurations[configuration],
            "value": pooled.value,
            "low": pooled.low,
            "high": pooled.high,
            "sites": len(ends),
            "least": ends[worst],
            "worst": worst,
            "most": ends[best],
            "best": best,
            "seen": self.full.scores.value[configuration],
        }
        if np.isnan(pooled.new_low):
            return Message(
                "On a {column} not seen in training, {label} scores {value:.3f} [{low:.3f}, "
                "{high:.3f}], pooled over {sites} held out in turn and ranging from {least:.3f} "
                "({worst}) to {most:.3f} ({best}). When every {column} is represented in training, "
                "it scores {seen:.3f}. A prediction interval for a new {column} would need more of "
                "them.",
                **said,
            )
        return Message(
            "On a {column} not seen in training, {label} scores {value:.3f} [{low:.3f}, "
            "{high:.3f}], pooled over {sites} held out in turn and ranging from {least:.3f} "
            "({worst}) to {most:.3f} ({best}). When every {column} is represented in training, it "
            "scores {seen:.3f}. The 95 % prediction interval for a new {column} is {new_low:.3f} "
            "to {new_high:.3f}.",
            **said,
            new_low=max(0.0, pooled.new_low),
            new_high=min(1.0, pooled.new_high),
        )

    def _of_others(self, label: str) -> Iterator[str]:
        significant = {
            configuration: item.value
            for configuration, item in self.differences.items()
            if item.different
        }
        for sentence, sign in ((BETTER, 1), (WORSE, -1)):
            named = [
                self.configurations[configuration]
                for configuration, value in significant.items()
                if sign * value > 0
            ]
            if named:
                yield Message(sentence, column=self.column, label=label, others=named)
        alike = len(self.differences) - len(significant)
        if alike:
            yield plural(
                "{count} other configuration is not significantly different from it there.",
                "{count} other configurations are not significantly different from it there.",
                count=alike,
            )

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``sites.json``."""
        return {
            "column": self.column,
            "sentences": self.sentences(),
            "sites": [
                {
                    "site": site.name,
                    site.board.unit.many: len(site.board.test),
                    "patients": len(np.unique(site.board.test.clusters)),
                    "learned_from": site.board.labelled,
                }
                for site in self.sites
            ],
            "refused": [{"site": name, "reason": why} for name, why in self.refused.items()],
            "configurations": [
                self._entry(configuration, label)
                for configuration, label in self.configurations.items()
            ],
        }

    def _entry(self, configuration: str, label: str) -> dict[str, Any]:
        scores = [
            metrics.mean_scores(
                site.evidence.labels,
                site.evidence.by_id[configuration].predictions,
                site.evidence.clusters,
                [self.full.metric],
            )[self.full.metric]
            for site in self.sites
        ]
        against = self.differences.get(configuration)
        return {
            "configuration_id": configuration,
            "configuration": label,
            "sites": [asdict(score) for score in scores],
            "pooled": asdict(self.pooled[configuration]),
            "against_chosen": None if against is None else against.to_json(),
        }
