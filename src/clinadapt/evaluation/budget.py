"""The best choice for a growing budget of time or memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from clinadapt.evaluation.paired_comparison import ResampledScores


@dataclass(frozen=True)
class Step:
    """A configuration and the smallest budget at which it is the best choice.

    Attributes
    ----------
    key : str
        Name of the configuration in a `ResampledScores`.
    label : str
    price : float
        Cost of a run in seconds or bytes.
    """

    key: str
    label: str
    price: float


def worthwhile(candidates: Iterable[Step], scores: ResampledScores) -> list[Step]:
    """Return the cheapest candidate and those that are worth their higher price.

    Parameters
    ----------
    candidates : iterable of Step
    scores : ResampledScores
        Scores of all candidates.

    Returns
    -------
    list of Step
        By ascending price; each scores significantly better than the one before it.
    """
    ordered = sorted(candidates, key=lambda step: step.price)
    differences = scores.differences(
        (dearer.key, cheaper.key) for cheaper, dearer in combinations(ordered, 2)
    )
    steps: list[Step] = []
    for candidate in ordered:
        if steps:
            gain = differences[candidate.key, steps[-1].key]
            if not gain.different or gain.value <= 0:
                continue
        steps.append(candidate)
    return steps
