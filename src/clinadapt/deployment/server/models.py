"""The models of a server: their descriptions and predictions."""

import math
from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.core.arrays import Floats
from clinadapt.core.errors import InputError
from clinadapt.deployment.server import schemas
from clinadapt.evaluation.abstention import Promise
from clinadapt.evaluation.calibration_maps import Scale
from clinadapt.explain.explain import can_explain, explain
from clinadapt.models.bundle.decision_rule import rules_of
from clinadapt.models.bundle.promise import check_promise
from clinadapt.models.bundle.record import fingerprint, read_record
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.shared_encoder import Together

# Key of a batch: task names, and whether to explain.
Asked = tuple[tuple[str, ...], bool]


class Models:
    """Bundles, loaded and ready.

    Parameters
    ----------
    bundles : mapping of str to Path
        Bundle folders by task name.
    scale : {"raw", "calibrated"}, optional
    thresholds : mapping of str to float, optional
        By task name; see `clinadapt.load`.
    promise : Promise, optional
        Leave notes to a person, so that the answers that are given keep it.

    Attributes
    ----------
    tasks : list of schemas.Task

    Raises
    ------
    InputError
        If a folder is not a bundle, or a bundle cannot keep the promise.
    """

    def __init__(
        self,
        bundles: Mapping[str, Path],
        scale: Scale | None = None,
        thresholds: Mapping[str, float] | None = None,
        promise: Promise | None = None,
    ) -> None:
        records = {name: read_record(folder) for name, folder in bundles.items()}
        if len({record.get("level", "note") for record in records.values()}) > 1:
            raise InputError(
                "some of these bundles classify notes and others patients, and a request has the "
                "ones or the others: start a server for each"
            )
        if promise is not None:
            check_promise(promise, records, rules_of(bundles, records, scale, thresholds or {}))
        self.promise = promise
        self.together = Together.load(bundles, scale, thresholds)
        self.tasks = [self._task(name, folder, records[name]) for name, folder in bundles.items()]
        self.together.predict_proba(["note"])  # loads the encoders before the first request

    def _task(self, name: str, folder: Path, record: dict[str, Any]) -> schemas.Task:
        """Return the description of a task."""
        classifier = self.together.classifiers[name]
        threshold = classifier.threshold_.value
        provenance = record["provenance"]
        return schemas.Task(
            name=name,
            version=fingerprint(folder),
            kind=classifier.task_,
            level=classifier.model_.level,
            classes=[str(label) for label in classifier.label_classes_],
            threshold=None if math.isnan(threshold) else threshold,
            explains=classifier.model_.level == "note" and can_explain(classifier.model_),
            probabilities=classifier.scale_,
            calibration_error=_calibration_error(provenance, classifier.scale_),
            risk=None if self.promise is None else self.promise.risk,
            coverage=None if self.promise is None else self.promise.coverage,
            synthetic=bool(provenance.get("data", {}).get("synthetic")),
        )

    def answer(self, asked: Asked, texts: Sequence[str]) -> list[schemas.NoteAnswers]:
        """Return the predictions for notes, in order.

        Parameters
        ----------
        asked : tuple
            Task names, and whether to explain.
        texts : sequence of str

        Raises
        ------
        InputError
            If a note contains nothing that a model can read.
        """
        names, explained = asked
        answers: list[list[schemas.Answer]] = [[] for _ in texts]
        by_name = {task.name: task for task in self.tasks}
        for name, probabilities in self.together.predict_proba(texts, names).items():
            unread = np.flatnonzero(~np.isfinite(probabilities).all(axis=1)).tolist()
            if unread:  # a batch of several requests is tried again, request by request
                raise InputError(
                    [f"note {at} has nothing that the model can read ({name})" for at in unread]
                )
            classifier, task = self.together.classifiers[name], by_name[name]
            explanations: Sequence[schemas.Explanation | None] = [None] * len(texts)
            if explained and task.explains:
                explanations = [_explanation(each) for each in explain(classifier, texts)]
            probabilities = classifier.in_label_order(probabilities)
            predicted = classifier.threshold_.predict(classifier.task_, probabilities).tolist()
            left, sets = self._abstaining(classifier, probabilities)
            rows = zip(
                *(answers, probabilities.tolist(), predicted, left, sets, explanations), strict=True
            )
            for note, row, flags, undecided, possible, explanation in rows:
                note.append(
                    schemas.Answer(
                        task=name,
                        probabilities=dict(zip(task.classes, row, strict=True)),
                        predicted=list(compress(task.classes, flags)),
                        undecided=_chosen(task.classes, undecided),
                        prediction_set=_chosen(task.classes, possible),
                        explanation=explanation,
                    )
                )
        return [schemas.NoteAnswers(answers=note) for note in answers]

    def _abstaining(
        self, classifier: NoteClassifier, probabilities: Floats
    ) -> tuple[Sequence[list[bool] | None], Sequence[list[bool] | None]]:
        """Return, for each note, the classes left to a person and those in its prediction set."""
        if self.promise is None:
            return [None] * len(probabilities), [None] * len(probabilities)
        abstention = classifier.abstaining
        _, left = abstention.band(self.promise.risk).answer(classifier.task_, probabilities)
        return left.tolist(), abstention.sets_of(self.promise.coverage).of(probabilities).tolist()


def _chosen(classes: Sequence[str], flags: Sequence[bool] | None) -> list[str] | None:
    return None if flags is None else list(compress(classes, flags))


def _calibration_error(provenance: Mapping[str, Any], scale: Scale) -> float | None:
    """Return the calibration error on a study's test notes, of the probabilities that are used."""
    if scale == "raw":
        value = provenance.get("metrics", {}).get("ece", {}).get("value")
    else:
        tested = (provenance.get("calibration") or {}).get("test") or {}
        value = tested.get("ece", {}).get("calibrated")
    return value if isinstance(value, float) else None


def _explanation(explained: Any) -> schemas.Explanation:
    return schemas.Explanation(
        target=explained.target,
        baseline=explained.baseline,
        logit=explained.logit,
        rest=explained.rest,
        gap=explained.gap,
        words=[
            schemas.Word(start=word.start, end=word.end, contribution=word.contribution)
            for word in explained.words
        ],
    )
