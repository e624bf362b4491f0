"""The models of a server: what is said of them, and what they say of notes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.core.errors import InputError
from clinadapt.deployment.server import schemas
from clinadapt.explain.explain import can_explain, explain
from clinadapt.models.bundle.record import fingerprint, read_record
from clinadapt.models.shared_encoder import Together

# What a pass is of: names of tasks, and whether words are explained.
Asked = tuple[tuple[str, ...], bool]


class Models:
    """Bundles, opened and ready.

    Parameters
    ----------
    bundles : mapping of str to Path
        By the name of the task.

    Attributes
    ----------
    tasks : list of schemas.Task

    Raises
    ------
    InputError
        Not a bundle.
    """

    def __init__(self, bundles: Mapping[str, Path]) -> None:
        records = {name: read_record(folder) for name, folder in bundles.items()}
        self.together = Together.load(bundles)
        self.tasks = [self._task(name, folder, records[name]) for name, folder in bundles.items()]
        self.together.predict_proba(["note"])  # loads the encoders: no client should wait for that

    def _task(self, name: str, folder: Path, record: dict[str, Any]) -> schemas.Task:
        classifier = self.together.classifiers[name]
        threshold = classifier.threshold_.value
        provenance = record["provenance"]
        return schemas.Task(
            name=name,
            version=fingerprint(folder),
            kind=classifier.task_,
            classes=[str(label) for label in classifier.classes_],
            threshold=None if math.isnan(threshold) else threshold,
            explains=can_explain(classifier.model_),
            calibration_error=provenance.get("metrics", {}).get("ece", {}).get("value"),
            synthetic=bool(provenance.get("data", {}).get("synthetic")),
        )

    def answer(self, asked: Asked, texts: Sequence[str]) -> list[schemas.NoteAnswers]:
        """What tasks say of notes, one answer a note.

        Raises
        ------
        InputError
            A note in which a model finds nothing to read.
        """
        names, explained = asked
        answers: list[list[schemas.Answer]] = [[] for _ in texts]
        by_name = {task.name: task for task in self.tasks}
        for name, probabilities in self.together.predict_proba(texts, names).items():
            if not np.isfinite(probabilities).all():
                raise InputError(f"{name}: a note has nothing that the model can read")
            classifier, task = self.together.classifiers[name], by_name[name]
            found: Sequence[schemas.Explanation | None] = [None] * len(texts)
            if explained and task.explains:
                found = [_explanation(one) for one in explain(classifier, texts)]
            said = classifier.predict_matrix(probabilities)
            rows = zip(answers, probabilities.tolist(), said.tolist(), found, strict=True)
            for note, row, carried, explanation in rows:
                pairs = zip(task.classes, carried, strict=True)
                note.append(
                    schemas.Answer(
                        task=name,
                        probabilities=dict(zip(task.classes, row, strict=True)),
                        predicted=[label for label, true in pairs if true],
                        explanation=explanation,
                    )
                )
        return [schemas.NoteAnswers(answers=note) for note in answers]


def _explanation(found: Any) -> schemas.Explanation:
    return schemas.Explanation(
        target=found.target,
        baseline=found.baseline,
        logit=found.logit,
        rest=found.rest,
        gap=found.gap,
        words=[
            schemas.Word(start=word.start, end=word.end, contribution=word.contribution)
            for word in found.words
        ],
    )
