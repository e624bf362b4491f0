"""The user's own scikit-learn pipeline as a model, compared and bundled like any other.

A study file names a function that returns the pipeline, by its import path; it is imported for the
fit, never to open a bundle. A bundle contains the fitted pipeline in the format of the library
`skops`, which builds objects of known types only, those of scikit-learn, numpy and scipy; a bundle
with any other type is refused, because reading it would run foreign code.
"""

import importlib
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clinadapt.core.arrays import Floats
from clinadapt.core.errors import InputError, MissingExtraError
from clinadapt.core.optional_dependencies import need
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.models.contract import Examples, Model
from clinadapt.models.files import PIPELINE_BYTES, PIPELINE_FILE

EXPECTED = "expected 'package.module:function', a function that returns an unfitted pipeline"


@dataclass(eq=False, repr=False, kw_only=True)
class SklearnModel(Model):
    """A scikit-learn pipeline from texts to class probabilities.

    Parameters
    ----------
    estimator : str
        Import path ``package.module:function`` of a function that returns the unfitted pipeline.
        Modules in the working directory can be imported.
    options : dict, optional
        Keyword arguments of the function.

    Attributes
    ----------
    pipeline_ : estimator
        Fitted.

    Notes
    -----
    The pipeline's ``fit(texts, y)`` receives texts as a list of str, and y as class numbers [note],
    or as a 0/1 matrix [note, label] in a multi-label task.

    Examples
    --------
    >>> from clinadapt import NoteClassifier, SklearnModel
    >>> model = SklearnModel("my_pipelines:words")  # imported when it is fitted
    >>> NoteClassifier(model).get_params()["model__estimator"]
    'my_pipelines:words'
    """

    estimator: str = field(default="", kw_only=False)
    options: dict[str, Any] | None = None

    def title(self, shown: dict[str, Any]) -> str:
        """Return the import path of the function; its options are printed after it."""
        shown.pop("estimator", None)
        shown |= shown.pop("options", None) or {}
        return self.estimator

    def file_problems(self) -> list[str]:
        """Return why the function cannot be used, or its pipeline not saved; empty if both can."""
        try:
            need("skops")
            self._new_pipeline()
        except MissingExtraError as error:
            return [str(error)]
        except InputError as error:
            return error.problems
        return []

    def _factory(self) -> Callable[..., Any]:
        module, separator, name = self.estimator.partition(":")
        if not separator or not module or not name.isidentifier():
            raise InputError(f"estimator = {self.estimator!r}: {EXPECTED}")
        try:
            with _working_directory_importable():
                factory = getattr(importlib.import_module(module), name)
        except Exception as error:
            raise InputError(
                f"estimator = {self.estimator!r} cannot be imported ({type(error).__name__}: "
                f"{error}); {EXPECTED}"
            ) from error
        if not callable(factory):
            raise InputError(f"estimator = {self.estimator!r} is not a function: {EXPECTED}")
        checked: Callable[..., Any] = factory
        return checked

    def _new_pipeline(self) -> Any:
        factory = self._factory()
        try:
            pipeline = factory(**(self.options or {}))
        except TypeError as error:
            raise InputError(f"estimator = {self.estimator!r}: {error}") from error
        if not hasattr(pipeline, "fit") or not hasattr(pipeline, "predict_proba"):
            raise InputError(
                f"estimator = {self.estimator!r} returns a {type(pipeline).__name__} without fit "
                "or predict_proba; CalibratedClassifierCV adds probabilities to a classifier that "
                "has none"
            )
        return pipeline

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        validation: Examples | None = None,
        metric: str | None = None,
        context: Context | None = None,
    ) -> Self:
        """Fit on training notes; validation notes are not needed.

        Raises
        ------
        InputError
            The function cannot be imported, or does not return a pipeline.
        """
        self.pipeline_ = self._new_pipeline()
        self.task_: Task = labels.task
        self.classes_ = len(labels.classes)
        target = labels.matrix.astype(np.int64) if labels.task == "multilabel" else labels.target
        self.pipeline_.fit(list(texts), target)
        return self

    def predict_proba(self, texts: Sequence[str], context: Context | None = None) -> Floats:
        """Return probabilities [note, class]; in a multi-label task each label has its own."""
        answer = self.pipeline_.predict_proba(list(texts))
        if self.task_ == "multilabel":
            if isinstance(answer, list):  # of forests: per label, [note, absent or present]
                answer = np.column_stack([each[:, -1] for each in answer])
            return np.asarray(answer, dtype=np.float64)
        probabilities = np.zeros((len(texts), self.classes_))
        probabilities[:, np.asarray(self.pipeline_.classes_, dtype=np.int64)] = answer
        return probabilities

    def readable(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each note has any of the terms that the first step counts [note].

        A pipeline that begins otherwise is taken to read every visible text.
        """
        found = super().readable(texts)
        steps = getattr(self.pipeline_, "steps", None)
        if steps and hasattr(steps[0][1], "transform"):
            features = steps[0][1].transform(list(texts))
            if sparse.issparse(features):
                terms: Any = features  # scipy-stubs do not know what every sparse type has
                found &= np.diff(terms.tocsr().indptr) > 0
        return found

    def save(self, folder: Path) -> None:
        """Write the pipeline in the format of `skops`, without pickles.

        Raises
        ------
        MissingExtraError
            skops is not installed.
        InputError
            The pipeline contains types that cannot be read back safely.
        """
        skops = need("skops.io")
        folder.mkdir(parents=True, exist_ok=True)
        skops.dump(self.pipeline_, folder / PIPELINE_FILE)
        _refuse_unknown_types(skops, folder / PIPELINE_FILE)

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote; the function that made the pipeline is not imported.

        Raises
        ------
        MissingExtraError
            skops is not installed.
        InputError
            The file contains types of packages other than scikit-learn, numpy and scipy.
        """
        skops = need("skops.io")
        path = folder / PIPELINE_FILE
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
        except zipfile.BadZipFile:
            raise InputError(f"{PIPELINE_FILE} is not a file of skops") from None
        if size > PIPELINE_BYTES:
            raise InputError(f"{PIPELINE_FILE}: expected at most {PIPELINE_BYTES:,} bytes")
        _refuse_unknown_types(skops, path)
        self.pipeline_ = skops.load(path, trusted=[])
        self.task_, self.classes_ = task, classes
        return self


def _refuse_unknown_types(skops: Any, path: Path) -> None:
    unknown = skops.get_untrusted_types(file=path)
    if unknown:
        raise InputError(
            f"the pipeline contains {', '.join(sorted(unknown)[:5])}, but a bundle opens only if "
            "all of its types belong to scikit-learn, numpy or scipy: build the pipeline of these, "
            "or register your own model (entry point clinadapt.models)"
        )


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    """Let modules in the working directory be imported, as `python -m` does."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
