"""Whether bundles can keep a promise, before they are opened."""

from collections.abc import Mapping
from typing import Any

from clinadapt.core.errors import InputError
from clinadapt.evaluation.abstention import OTHER_RULE, Abstention, Promise
from clinadapt.models.bundle.decision_rule import DecisionRule


def check_promise(
    promise: Promise,
    records: Mapping[str, Mapping[str, Any]],
    rules: Mapping[str, DecisionRule],
) -> None:
    """Raise an error if some bundle cannot leave notes to a person under a promise.

    Parameters
    ----------
    promise : Promise
    records : mapping of str to mapping
        Content of ``bundle.json`` by task name, checked.
    rules : mapping of str to DecisionRule
        How each bundle is asked to predict.

    Raises
    ------
    InputError
        A bundle has no reject bands and prediction sets, or not those of the promise.
    """
    problems = []
    for task, record in records.items():
        if record.get("abstention") is None:
            problems.append(
                f"the bundle of {task} has no reject bands and no prediction sets, because it was "
                "saved by an earlier version: fit it again, a study in a new folder (--out), or "
                "leave out --abstain"
            )
            continue
        if not rules[task].is_own:
            problems.append(f"{task}: {OTHER_RULE}")
        try:
            Abstention.model_validate(record["abstention"]).check(promise)
        except InputError as error:
            problems += [f"{task}: {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)
