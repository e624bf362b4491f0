"""How a bundle is asked to predict: with which probabilities, and from which threshold on."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinadapt.core.errors import InputError
from clinadapt.evaluation.calibration_maps import Scale

NO_MAP = (
    "there are no calibrated probabilities: on the validation notes no map lowered the log-loss, "
    "or their patients were too few, or the bundle was saved by an earlier version"
)


@dataclass(frozen=True)
class DecisionRule:
    """Probabilities and threshold of one bundle.

    Attributes
    ----------
    scale : {"raw", "calibrated"}
        Whether probabilities are the model's own or calibrated.
    threshold : float, optional
        Probability from which on a class is predicted; None if the most probable one is.
    own_threshold : float, optional
        The one chosen on validation notes, for these probabilities.
    is_own : bool
        True if neither was asked for, so that the bundle's own hold.
    """

    scale: Scale
    threshold: float | None
    own_threshold: float | None
    is_own: bool

    @classmethod
    def of(
        cls,
        folder: Path,
        record: Mapping[str, Any],
        scale: Scale | None = None,
        threshold: float | None = None,
    ) -> "DecisionRule":
        """Return the rule of a bundle.

        Parameters
        ----------
        folder : Path
        record : mapping
            Content of its ``bundle.json``, checked.
        scale, threshold : optional
            What is asked for instead of the bundle's own.

        Raises
        ------
        InputError
            The bundle has no calibrated probabilities, or no threshold.
        """
        problems = []
        if scale not in (None, "raw", "calibrated"):
            problems.append(f"expected probabilities to be raw or calibrated, got {scale!r}")
        if scale == "calibrated" and record.get("calibration") is None:
            problems.append(f"{folder}: {NO_MAP}")
        if threshold is not None and not 0 <= threshold <= 1:
            problems.append(f"expected a threshold between 0 and 1, got {threshold:g}")
        if threshold is not None and record["task"] == "multiclass":
            problems.append(
                f"{folder} predicts the most probable of {len(record['classes'])} classes, for "
                "which there is no threshold: leave the threshold out"
            )
        if problems:
            raise InputError(problems)
        shown: Scale = scale or record.get("scale", "raw")
        own = record["calibrated_threshold" if shown == "calibrated" else "threshold"]["value"]
        is_own = scale is None and threshold is None
        return cls(shown, own if threshold is None else threshold, own, is_own)

    def version(self, fingerprint: str) -> str:
        """Return the version of a bundle's predictions: its own, or one of it and this rule."""
        if self.is_own:
            return fingerprint
        content = f"{fingerprint} {self.scale} {self.threshold}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def named_thresholds(arguments: Sequence[str], tasks: Sequence[str]) -> dict[str, float]:
    """Return thresholds by task name, from arguments ``0.3``, for all tasks, or ``NAME=0.3``.

    Raises
    ------
    InputError
        Something is not a number, or a name is none of the tasks.
    """
    thresholds: dict[str, float] = {}
    problems = []
    for argument in arguments:
        name, separator, number = argument.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            problems.append(
                f"expected --threshold to be a number, such as 0.3, or NAME=0.3, got {argument!r}"
            )
            continue
        if separator and name not in tasks:
            problems.append(
                f"--threshold {argument}: no bundle is called {name!r}; expected one of: "
                f"{', '.join(tasks)}"
            )
        thresholds |= dict.fromkeys([name] if separator else tasks, value)
    if problems:
        raise InputError(problems)
    return thresholds


def rules_of(
    bundles: Mapping[str, Path],
    records: Mapping[str, Mapping[str, Any]],
    scale: Scale | None,
    thresholds: Mapping[str, float],
) -> dict[str, DecisionRule]:
    """Return the rule of each bundle by task name.

    Parameters
    ----------
    bundles : mapping of str to Path
        Folders by task name.
    records : mapping of str to mapping
        Content of their ``bundle.json``.
    scale : {"raw", "calibrated"}, optional
        Of all of them.
    thresholds : mapping of str to float
        See `named_thresholds`.

    Raises
    ------
    InputError
        See `DecisionRule.of`; all problems at once.
    """
    rules, problems = {}, []
    for task, folder in bundles.items():
        try:
            rules[task] = DecisionRule.of(folder, records[task], scale, thresholds.get(task))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return rules
