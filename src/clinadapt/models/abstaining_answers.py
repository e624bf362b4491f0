"""Answers that a fitted classifier gives or leaves to a person, part of `NoteClassifier`."""

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from clinadapt.core.errors import InputError
from clinadapt.data.labels import Labels
from clinadapt.evaluation import abstention
from clinadapt.evaluation.abstention import Abstention
from clinadapt.models.calibrated_scores import CalibratedScores


class AbstainingAnswers(CalibratedScores):
    """Reject bands and prediction sets, chosen for the probabilities and threshold in use."""

    validation_probabilities_: NDArray[np.float64]

    def learn_abstention(self, labels: Labels, clusters: NDArray[np.int64]) -> None:
        """Choose bands and sets on the notes of ``validation_probabilities_``.

        Parameters
        ----------
        labels : Labels
        clusters : ndarray of int64, shape [validation note]
            Patient of each note.
        """
        own = self.in_label_order(self.validation_probabilities_)
        shown = self.in_label_order(self.present(own))
        self.keep_abstention(abstention.calibrate(labels, shown, clusters, self.threshold_))

    def keep_abstention(self, found: Abstention | None) -> None:
        """Take bands and sets that were chosen for the probabilities and threshold in use."""
        self.abstention_: Abstention | None = found
        self._abstention_rule = self.scale_, self.threshold_.value

    @property
    def abstention_holds(self) -> bool:
        """True if there are bands and sets, for the probabilities and threshold in use."""
        scale, value = self._abstention_rule
        same = value == self.threshold_.value or math.isnan(value)
        return self.abstention_ is not None and scale == self.scale_ and same

    @property
    def abstaining(self) -> Abstention:
        """Reject bands and prediction sets; an error if there are none."""
        check_is_fitted(self, "model_")
        if self.abstention_ is None:
            raise InputError(
                "this model has no reject bands and no prediction sets, because it was saved by an "
                "earlier version: fit it again, a study in a new folder (--out), to leave notes to "
                "a person"
            )
        if not self.abstention_holds:
            raise InputError(abstention.OTHER_RULE)
        return self.abstention_
