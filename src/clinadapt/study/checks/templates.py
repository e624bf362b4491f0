"""Labels that follow the template of the note: how it opens or ends, or which headings it has."""

from clinadapt.core.messages import Message
from clinadapt.data.positive_class import shown_name
from clinadapt.study.checks.contract import Subject
from clinadapt.study.checks.following import GroupShares, strongest
from clinadapt.study.checks.note_parts import SKELETONS


def follow_template(subject: Subject) -> str | None:
    """Return what is found where a class can be told by the skeleton of the note.

    Each note is given the share of the class among the notes of other patients that have the same
    first words, last words, or headings, numbers masked.
    """
    notes = subject.sample
    found = {}
    for what, skeleton in SKELETONS.items():
        keys = [skeleton(text) for text in notes.texts]
        one = strongest(notes.labels, notes.clusters, GroupShares(keys, notes.clusters))
        if one is not None:
            found[what] = one
    if not found:
        return None
    what, one = max(found.items(), key=lambda item: item[1].auroc)
    return Message(
        "class {name} can be told by {what} of the note alone with an AUROC of {auroc:.2f}, as "
        "other {who} with the same mostly have the same label ({patients:,} with the class, "
        "{others:,} without).",
        name=shown_name(one.name),
        what=what,
        auroc=one.auroc,
        who=subject.patients,
        patients=one.patients,
        others=one.others,
    )
