"""Classes that too few patients have to be learned, or to be measured."""

import numpy as np

from clinadapt.core.messages import Message
from clinadapt.data.positive_class import shown_name
from clinadapt.study.checks.contract import Subject

LEAST_PATIENTS = 10  # in the training part, and in the test part


def too_few_patients(subject: Subject) -> str | None:
    """Return what is found where fewer than ten training or test patients have a class."""
    labels, clusters = subject.notes.labels, subject.notes.clusters
    counts = np.array(
        [
            [
                len(np.unique(clusters[rows][labels.matrix[rows, number]]))
                for number in range(len(labels.classes))
            ]
            for rows in (subject.split.train, subject.split.test)
        ]
    )
    rare = counts.min(axis=0) < LEAST_PATIENTS
    if not rare.any():
        return None
    rarest = int(np.argmin(counts.sum(axis=0)))
    train, test = counts[:, rarest].tolist()
    name = shown_name(labels.classes[rarest])
    if rare.sum() == 1:
        return Message(
            "class {name} is carried by {train:,} training and {test:,} test {who}: with fewer "
            "than {least} in either, a score says little about it.",
            name=name,
            train=train,
            test=test,
            who=subject.patients,
            least=LEAST_PATIENTS,
        )
    return Message(
        "{rare:,} of {classes:,} classes are carried by fewer than {least} {who} in the training "
        "or in the test part; the rarest, {name}, by {train:,} and {test:,}.",
        rare=int(rare.sum()),
        classes=len(rare),
        least=LEAST_PATIENTS,
        who=subject.patients,
        name=name,
        train=train,
        test=test,
    )
