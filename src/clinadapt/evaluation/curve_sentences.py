"""Sentences about two learning curves that do not cross, and about a forecast that was checked."""

from collections.abc import Mapping
from typing import Any

from clinadapt.core.messages import Message
from clinadapt.data.levels import NOTES, Unit
from clinadapt.evaluation.paired_comparison import Difference


def without_crossing(
    one: str, other: str, differences: Mapping[int, Difference], unit: Unit = NOTES
) -> Message:
    """Return where one of two configurations is better, or that this is not known.

    Parameters
    ----------
    one, other : str
        Labels of the configurations.
    differences : mapping of int to Difference
        First minus second, by number of notes, at the sizes that both have.
    unit : Unit
        What is labelled and counted.
    """
    sizes = list(differences)
    sure = sum(item.different for item in differences.values())
    span = Message("no size in common")
    if sizes:
        span = Message(
            "{low:,} to {high:,} labelled {units}", low=sizes[0], high=sizes[-1], units=unit.many
        )
    for better, worse, sign in ((one, other, 1), (other, one, -1)):
        if sure and all(sign * item.value > 0 for item in differences.values()):
            return Message(
                "{better} does better than {worse} at every size tried ({span}); the "
                "difference is significant at {sure} of {sizes} sizes.",
                better=better,
                worse=worse,
                span=span,
                sure=sure,
                sizes=len(sizes),
            )
    ahead = {
        label: [n for n, item in differences.items() if item.different and sign * item.value > 0]
        for label, sign in ((one, 1), (other, -1))
    }
    better_at = [
        Message("{label} does better at {where:,}", label=label, where=where)
        for label, where in ahead.items()
        if where
    ]
    said = {"one": one, "other": other, "units": unit.many, "sizes": len(sizes), "span": span}
    if not better_at:
        return Message(
            "No number of {units} was found at which {one} and {other} change places with "
            "certainty. At none of the {sizes} sizes tried ({span}) is the difference "
            "significant.",
            **said,
        )
    ways = better_at[0]
    if len(better_at) == 2:
        ways = Message("{first}, and {second}", first=better_at[0], second=better_at[1])
    return Message(
        "No number of {units} was found at which {one} and {other} change places with certainty. "
        "At {sure} of the {sizes} sizes tried ({span}) the difference is significant: {ways}.",
        **said,
        sure=sure,
        ways=ways,
    )


def checked_forecast(checked: Mapping[str, Any], unit: Unit = NOTES) -> Message:
    """Return whether the score at the largest size is in the interval that others predict."""
    said = {name: checked[name] for name in ("value", "low", "high", "notes", "came")}
    said["units"] = unit.many
    if checked["inside"]:
        return Message(
            "A check of such forecasts: the smaller sizes alone predict {value:.3f} "
            "[{low:.3f}, {high:.3f}] for {notes:,} {units}; the measured score, {came:.3f}, "
            "is inside the interval.",
            **said,
        )
    return Message(
        "A check of such forecasts: the smaller sizes alone predict {value:.3f} "
        "[{low:.3f}, {high:.3f}] for {notes:,} {units}; the measured score, {came:.3f}, "
        "is outside the interval.",
        **said,
    )
