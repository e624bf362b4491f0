"""A finished study: leaderboard, recommended classifier, comparisons, chart and report."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from clinadapt.core import formatting
from clinadapt.core.errors import InputError
from clinadapt.core.folder_lock import folder_lock
from clinadapt.core.html import page_environment
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.load import load
from clinadapt.report import charts, tables
from clinadapt.report.findings import every_pair
from clinadapt.report.write import write_report
from clinadapt.study import read_results
from clinadapt.study.checks.contract import Finding
from clinadapt.study.kept_bundles import find_row, write_bundle
from clinadapt.study.read_results import LeaderboardRow, StudyResults
from clinadapt.study.result_files import LEADERBOARD, LEADERBOARD_COLUMNS, read_leaderboard

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from clinadapt.data.notes import Notes


@dataclass(frozen=True)
class Comparison:
    """Difference of two configurations on the same test notes, with its 95 % interval.

    Attributes
    ----------
    first, second : str
        Configurations.
    metric : str
    value, low, high : float
        First minus second, in the metric's unit; positive where the first is better. The interval
        is that of this pair alone, not corrected for other comparisons.
    corrected_p : float, optional
        The p-value after correction for the comparisons that the study makes; None if this pair is
        none of them.
    """

    first: str
    second: str
    metric: str
    value: float
    low: float
    high: float
    corrected_p: float | None

    def __str__(self) -> str:
        tested = (
            "not one of the pairs that the study tests"
            if self.corrected_p is None
            else f"corrected p {formatting.p(self.corrected_p)}"
        )
        value, low, high = (formatting.points(n) for n in (self.value, self.low, self.high))
        return (
            f"{self.first} minus {self.second}: {value} points [{low}, {high}] of "
            f"{formatting.metric(self.metric)}; {tested}"
        )


class FinishedStudy:
    """Result of a study, read from its folder. Notebooks show it as the leaderboard.

    Parameters
    ----------
    folder : path
        Folder of a study that has ended, in this session or another.

    Raises
    ------
    InputError
        The folder holds no finished study, or a file is damaged.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from clinadapt import Columns, FinishedStudy, Study, read_notes
    >>> from clinadapt.data.synthetic.generator import generate
    >>> notes = read_notes(generate(240, 80, 96), Columns(id="id", group="patient"))
    >>> design = {"name": "two", "configurations": [{"model": ["tfidf-logistic", "tfidf-mlp"]}]}
    >>> with TemporaryDirectory() as folder:
    ...     _ = Study(notes, design, f"{folder}/out").run()
    ...     study = FinishedStudy(f"{folder}/out")
    ...     study.leaderboard.height, study.report.name
    (2, 'report.html')
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._results: StudyResults = read_results.load(self.folder)

    @cached_property
    def leaderboard(self) -> pl.DataFrame:
        """One row per configuration, best on validation first; ``.to_pandas()`` converts it."""
        return read_leaderboard(self.folder / LEADERBOARD, LEADERBOARD_COLUMNS)

    @cached_property
    def recommended(self) -> NoteClassifier | None:
        """The recommended classifier, ready to use; None if the study recommends none."""
        if not self._results.about["recommended"]:
            return None
        return load(self.folder / "recommended")

    @property
    def sentence(self) -> str:
        """What the study recommends, and how sure that is."""
        if self._results.evidence is None:
            return "No configuration has finished, so nothing can be recommended."
        return str(self._results.evidence["sentence"])

    @property
    def checks(self) -> list[Finding]:
        """What the checks found; none in a study of a version without checks."""
        found = (self._results.checks or {}).get("findings", [])
        return [Finding(**finding) for finding in found]

    def bundle(
        self, row: int | str, to: str | Path | None = None, notes: "Notes | None" = None
    ) -> Path:
        """Write the bundle of any configuration to a folder, and return the folder.

        A study keeps the bundles of its best and of its recommended configuration; any other one
        is fitted again, for which the notes are needed.

        Parameters
        ----------
        row : int or str
            Rank on the leaderboard, or name or ``configuration_id`` of a configuration.
        to : path, optional
            Default: ``row-RANK`` in the study's folder.
        notes : Notes, optional
            Notes of the study, read as for the study.

        Raises
        ------
        InputError
            There is no such configuration; it has to be fitted again, and `notes` are missing or
            not the study's; or the folder holds something else.
        """
        chosen = find_row(self._results, str(row))
        target = Path(to) if to is not None else self.folder / f"row-{chosen.rank}"
        given = None if notes is None else lambda: notes
        write_bundle(self.folder, self._results, chosen, target, given)
        return target

    def compare(self, first: str, second: str) -> Comparison:
        """Return the difference of two configurations on the test notes.

        Parameters
        ----------
        first, second : str
            Configurations, as the leaderboard names them; or their ``configuration_id``.

        Raises
        ------
        InputError
            A name is not of one finished configuration, or the metric is undefined.
        """
        one, other = self._configuration(first), self._configuration(second)
        pair = (one.configuration_id, other.configuration_id)
        if pair[0] == pair[1]:
            raise InputError("expected two different configurations, but the same is named twice")
        for *ids, value, low, high in every_pair(self._results):
            if set(ids) != set(pair):
                continue
            ends = (value, low, high) if tuple(ids) == pair else (-value, -high, -low)
            return Comparison(
                one.configuration,
                other.configuration,
                self._results.about["metric"],
                *ends,
                self._corrected_p(set(pair)),
            )
        raise InputError(
            f"{one.configuration} and {other.configuration} cannot be compared: not all their "
            "seeds have finished, or the metric is undefined on the test notes"
        )

    def _corrected_p(self, pair: set[str]) -> float | None:
        pairs = (self._results.evidence or {}).get("pairs", [])
        found = (item for item in pairs if {item["first"], item["second"]} == pair)
        return next((item["corrected_p"] for item in found), None)

    def _configuration(self, name: str) -> LeaderboardRow:
        done = self._results.done
        found = [one for one in done if name in (one.configuration, one.configuration_id)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(
            f"{one.configuration} ({one.configuration_id})" if found else one.configuration
            for one in found or done
        )
        problem = "names several configurations" if found else "is no finished configuration"
        raise InputError(f"{name!r} {problem}; expected one of: {known}")

    def plot(self, cost: str = "seconds") -> "Figure":
        """Return a chart of test score against cost.

        Parameters
        ----------
        cost : {"seconds", "memory", "parameters"}
            Time to encode and fit, peak memory, or number of trained weights.

        Returns
        -------
        plotly.graph_objects.Figure

        Raises
        ------
        InputError
            The cost is none of these.
        """
        from plotly.graph_objects import Figure

        by_key = {one.key: one for one in charts.COSTS}
        if cost not in by_key:
            raise InputError(f"no cost {cost!r}; expected one of: {', '.join(by_key)}")
        return Figure(charts.accuracy_against_cost(self._results, by_key[cost]))

    @cached_property
    def report(self) -> Path:
        """Path of the report, an HTML page; it is written when first asked for."""
        with folder_lock(self.folder):
            return write_report(self.folder)

    def __repr__(self) -> str:
        done, several = len(self._results.done), len(self._results.configurations)
        return f"<study {self._results.about['name']}: {done} of {several} configurations done>"

    def _repr_html_(self) -> str:
        done = self._results.done
        ends = [end for one in done for end in (one.test, one.test_low, one.test_high)]
        return (
            page_environment("clinadapt.notebook")
            .get_template("study.html.jinja")
            .render(
                study=self._results,
                sentence=self.sentence,
                axis=tables.score_axis(ends),
                unranked=tables.unranked(self._results),
            )
        )
