"""Notes of different patients with the same or nearly the same text, in two parts."""

from clinadapt.core.messages import Message
from clinadapt.study.checks.contract import Subject

LEAST_SHARE, LEAST_NOTES = 0.01, 3  # of validation and test notes


def repeated_across_patients(subject: Subject) -> str | None:
    """Return what is found where many validation or test notes nearly repeat an earlier part's."""
    exact, near = _counts(subject)
    repeated = exact + near
    later = len(subject.split.validation) + len(subject.split.test)
    if repeated < max(LEAST_NOTES, LEAST_SHARE * later):
        return None
    if subject.notes.groups is None:
        return Message(
            "{repeated:,} of {later:,} validation and test notes repeat a note of an earlier part, "
            "{exact:,} of them word by word; name the patient with --group if some are of one "
            "patient.",
            repeated=repeated,
            later=later,
            exact=exact,
        )
    return Message(
        "{repeated:,} of {later:,} validation and test notes repeat a note of another patient in "
        "an earlier part, {exact:,} of them word by word.",
        repeated=repeated,
        later=later,
        exact=exact,
    )


def _counts(subject: Subject) -> tuple[int, int]:
    """Return the numbers of exact and of near duplicates; a study has counted them already."""
    if subject.results is not None:
        counted = subject.results.about["data"]["duplicates"]
        return counted["exact_across_parts"], counted["near_across_parts"]
    exact = sum(pair.kind == "exact" for pair in subject.duplicates)
    return exact, len(subject.duplicates) - exact
