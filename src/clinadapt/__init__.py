"""Compare classifiers for clinical notes under a limit of memory and time, with intervals.

Data flow::

    notes table ─► Notes ─► patient-disjoint Split ─► tokens
                                                        │
            ┌───────────────────────────────────────────┤
            ▼                                           ▼
      frozen prefix of an encoder                 from-scratch encoder         TF-IDF
      (computed once, cached by content)          (transformer, moe)             │
            ▼                                           │                        │
      tuned suffix (0, k or all layers)                 │                        │
            ▼                                           │                        │
      adapter                                           │                        │
            ▼                                           ▼                        ▼
      pooling + head ────────────────────────────► class probabilities ◄── sparse classifier
                                                        │
                          threshold chosen on validation only ─► metrics with intervals, costs
                                                        │
                           result.json + predictions.parquet per run ─► leaderboard, report, best

Public names are imported on first use, so that ``import clinadapt`` is instant.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clinadapt.data.columns import Columns as Columns
    from clinadapt.data.notes import Notes as Notes
    from clinadapt.data.notes import read_notes as read_notes
    from clinadapt.data.patients import patient_documents as patient_documents
    from clinadapt.deployment.suggest.suggest import suggest as suggest
    from clinadapt.models.attention import AttentionModel as AttentionModel
    from clinadapt.models.classifier import NoteClassifier as NoteClassifier
    from clinadapt.models.from_scratch import ScratchModel as ScratchModel
    from clinadapt.models.load import load as load
    from clinadapt.models.pretrained import PretrainedModel as PretrainedModel
    from clinadapt.models.private import PrivateModel as PrivateModel
    from clinadapt.models.sklearn_pipeline import SklearnModel as SklearnModel
    from clinadapt.models.stacked import StackedModel as StackedModel
    from clinadapt.models.tfidf_autoencoder import TfidfAutoencoder as TfidfAutoencoder
    from clinadapt.models.tfidf_logistic import TfidfLogistic as TfidfLogistic
    from clinadapt.models.tfidf_mlp import TfidfMLP as TfidfMLP
    from clinadapt.notebook.finished_study import FinishedStudy as FinishedStudy
    from clinadapt.notebook.study import Study as Study
    from clinadapt.report.write import write_report as write_report
    from clinadapt.study.checks.registry import check_notes as check_notes

__version__ = version("clinadapt")

_HOMES = {
    "AttentionModel": "clinadapt.models.attention",
    "Columns": "clinadapt.data.columns",
    "FinishedStudy": "clinadapt.notebook.finished_study",
    "NoteClassifier": "clinadapt.models.classifier",
    "Notes": "clinadapt.data.notes",
    "PretrainedModel": "clinadapt.models.pretrained",
    "PrivateModel": "clinadapt.models.private",
    "SklearnModel": "clinadapt.models.sklearn_pipeline",
    "ScratchModel": "clinadapt.models.from_scratch",
    "StackedModel": "clinadapt.models.stacked",
    "Study": "clinadapt.notebook.study",
    "TfidfAutoencoder": "clinadapt.models.tfidf_autoencoder",
    "TfidfLogistic": "clinadapt.models.tfidf_logistic",
    "TfidfMLP": "clinadapt.models.tfidf_mlp",
    "check_notes": "clinadapt.study.checks.registry",
    "load": "clinadapt.models.load",
    "patient_documents": "clinadapt.data.patients",
    "write_report": "clinadapt.report.write",
    "read_notes": "clinadapt.data.notes",
    "suggest": "clinadapt.deployment.suggest.suggest",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clinadapt' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
