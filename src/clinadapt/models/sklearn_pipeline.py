"""The user's own scikit-learn pipeline as a model, compared and bundled like every other.

A study file names a function that returns the pipeline, by its import path; it is imported to fit,
never to open a bundle. A bundle holds the fitted pipeline in the format of the library `skops`,
which builds objects of known types alone: what scikit-learn, numpy and scipy define opens; a bundle
with any other type is refused, for reading it would run somebody's code.
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

from clinadapt.core.errors import InputError
from clinadapt.core.optional_dependencies import need
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.models.contract import Examples, Floats, Model

PIPELINE_FILE, PIPELINE_BYTES = "pipeline.skops", 2**31
EXPECTED = "expected 'package.module:function', a function that returns an unfitted pipeline"


@dataclass(eq=False, repr=False, kw_only=True)
class SklearnModel(Model):
    """A scikit-learn pipeline from texts to class probabilities.

    Parameters
    ----------
    estimator : str
        Import path ``package.module:function`` of a function that returns the unfitted pipeline.
        Modules in the working directory are found.
    options : dict, optional
        Keyword arguments of the function.

    Attributes
    ----------
    pipeline_ : estimator
        Fitted.

    Notes
    -----
    The pipeline's ``fit(texts, y)`` gets texts as a list of str, and y as numbers of classes
    [note], or as a 0/1 matrix [note, label] in a multi-label task.
    """

    estimator: str = field(default="", kw_only=False)
    options: dict[str, Any] | None = None

    def title(self, shown: dict[str, Any]) -> str:
        """Name of the function; its options are printed behind it."""
        shown.pop("estimator", None)
        shown |= shown.pop("options", None) or {}
        return self.estimator

    def file_problems(self) -> list[str]:
        """Say why the function cannot be imported, or what it lacks; empty if all is well."""
        try:
            self._new_pipeline()
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
            raise InputError(f"estimator = {self.estimator!r} is no function: {EXPECTED}")
        found: Callable[..., Any] = factory
        return found

    def _new_pipeline(self) -> Any:
        factory = self._factory()
        try:
            pipeline = factory(**(self.options or {}))
        except TypeError as error:
            raise InputError(f"estimator = {self.estimator!r}: {error}") from error
        if not hasattr(pipeline, "fit") or not hasattr(pipeline, "predict_proba"):
            raise InputError(
                f"estimator = {self.estimator!r} returns a {type(pipeline).__name__}, which does "
                "not offer fit and predict_proba; CalibratedClassifierCV gives probabilities to a "
                "classifier that has none"
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
            The function cannot be imported, or returns something else than a pipeline.
        """
        self.pipeline_ = self._new_pipeline()
        self.task_: Task = labels.task
        self.classes_ = len(labels.classes)
        target = labels.matrix.astype(np.int64) if labels.task == "multilabel" else labels.target
        self.pipeline_.fit(list(texts), target)
        return self

    def predict_proba(self, texts: Sequence[str], context: Context | None = None) -> Floats:
        """Probabilities [note, class]; of each label by itself in a multi-label task."""
        answer = self.pipeline_.predict_proba(list(texts))
        if self.task_ == "multilabel":
            if isinstance(answer, list):  # as forests give it: [note, absent or present] a label
                answer = np.column_stack([each[:, -1] for each in answer])
            return np.asarray(answer, dtype=np.float64)
        probabilities = np.zeros((len(texts), self.classes_))
        probabilities[:, np.asarray(self.pipeline_.classes_, dtype=np.int64)] = answer
        return probabilities

    def save(self, folder: Path) -> None:
        """Write the pipeline in the format of `skops`, without pickles.

        Raises
        ------
        MissingExtraError
            skops is not installed.
        InputError
            The pipeline holds types that could not be read back safely.
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
            The file holds types of other packages than scikit-learn, numpy and scipy.
        """
        skops = need("skops.io")
        path = folder / PIPELINE_FILE
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
        except zipfile.BadZipFile:
            raise InputError(f"{PIPELINE_FILE} is not what a study writes") from None
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
            f"the pipeline holds {', '.join(sorted(unknown)[:5])}, and a bundle is opened only if "
            "all of its types are scikit-learn's, numpy's or scipy's: build the pipeline of these, "
            "or register a model of your own (entry point clinadapt.models)"
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
