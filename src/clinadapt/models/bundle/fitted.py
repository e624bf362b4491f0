"""The attributes of a fitted classifier that a bundle is made of."""

from typing import Any, Protocol

from numpy.typing import NDArray

from clinadapt.data.labels import Task
from clinadapt.evaluation.abstention import Abstention
from clinadapt.evaluation.calibration_maps import Calibration, Scale
from clinadapt.evaluation.threshold import Threshold
from clinadapt.models.bundle.reference import Reference
from clinadapt.models.contract import Model


class FittedClassifier(Protocol):
    """A fitted `clinadapt.NoteClassifier`, which imports this package and not the reverse."""

    model_: Model
    label_classes_: NDArray[Any]
    task_: Task
    metric_: str
    thresholds_: dict[Scale, Threshold]
    scale_: Scale
    calibration_: Calibration | None
    indicator_: bool
    reference_: Reference | None
    abstention_: Abstention | None

    @property
    def abstention_holds(self) -> bool:
        """True if the abstention is of the probabilities and threshold in use."""
