"""One run: fit its model, score it, save it, and record the cost."""

import hashlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core import atomic_files, resources
from clinadapt.core.run_context import Context, Ledger, Progress
from clinadapt.data import prediction_tables
from clinadapt.data.notes import Notes
from clinadapt.data.patients import patients_of
from clinadapt.data.split import PARTS, Split
from clinadapt.data.summary import summarize
from clinadapt.data.text_store import Texts
from clinadapt.evaluation import metrics
from clinadapt.models.bundle.save import save_bundle
from clinadapt.models.classifier import NoteClassifier
from clinadapt.study import result_files
from clinadapt.study.design import Run, identity
from clinadapt.study.patient_runs import PatientRule, to_patients
from clinadapt.study.run_store import PREDICTIONS_SHA256

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, eq=False)
class Material:
    """Notes and split that a study's runs are fitted and scored on.

    Attributes
    ----------
    notes : Notes
    split : Split
    metric : str
        Metric that thresholds and early stopping optimise.
    resamples : int
        Number of bootstrap resamples.
    rule : PatientRule, optional
        How patients are classified and scored; None if notes are.
    """

    notes: Notes
    split: Split
    metric: str
    resamples: int
    rule: PatientRule | None = None

    @cached_property
    def parts(self) -> dict[str, Notes]:
        """Notes by the name of the part."""
        return {name: self.notes.take(rows) for name, rows in self.split.parts().items()}

    @cached_property
    def scored(self) -> dict[str, Notes]:
        """What is scored, by the name of the part: the notes, or the patients."""
        if self.rule is None:
            return self.parts
        return {name: patients_of(part, self.rule.label) for name, part in self.parts.items()}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything here that a result depends on, except the metric."""
        rows = {
            name: hashlib.sha256(numbers.tobytes()).hexdigest()
            for name, numbers in self.split.parts().items()
        }
        rule = [] if self.rule is None else [asdict(self.rule)]
        return identity(self.notes.fingerprint, self.resamples, rows, *rule)

    def take(self, rows: Mapping[str, NDArray[np.int64]]) -> "Material":
        """Return the same for some notes of each part, given by row numbers."""
        ends = np.cumsum([len(rows[name]) for name in PARTS])
        chosen = np.concatenate([rows[name] for name in PARTS])
        split = Split(*np.split(np.arange(len(chosen)), ends[:-1]))
        return replace(self, notes=self.notes.take(chosen), split=split)


def fit_run(
    material: Material,
    run: Run,
    run_id: str,
    folder: Path,
    context: Context,
    environment: Mapping[str, Any],
) -> dict[str, Any]:
    """Fit a run and write its predictions and bundle.

    Parameters
    ----------
    material : Material
    run : Run
    run_id : str
    folder : Path
        Folder for the predictions and the bundle; training resumes from a checkpoint found there.
    context : Context
        Cache, memory limit and progress; the other fields are set here.
    environment : mapping
        See `clinadapt.core.device.environment`; recorded in the bundle's provenance.

    Returns
    -------
    dict
        The run's part of ``result.json``.
    """
    # A model of patients reads their documents; any other model reads notes.
    read = material.parts if run.configuration.cls.level == "note" else material.scored
    train, validation, test = (read[name] for name in ("train", "validation", "test"))
    ledger, watch, started = Ledger(), resources.Stopwatch(), time.perf_counter()
    context = replace(
        context,
        checkpoint=folder / CHECKPOINT,
        progress=_named(context.progress, run.configuration.label),
        ledger=ledger,
    )
    resumed = (folder / CHECKPOINT).is_file()
    held_bytes = resources.reset_peak_memory()
    classifier = NoteClassifier(run.build(), metric=material.metric)
    with watch.stage("encode"):
        # All parts at once: one pass through the encoder; the later stages read the cache.
        classifier.prepare(Texts.join([part.texts for part in read.values()]), context)
    encoding = replace(ledger)
    with watch.stage("fit"):
        classifier.fit_parts(
            train.texts, train.labels, validation.texts, validation.labels, context
        )
    before = ledger.truncated_notes
    with watch.stage("predict"):
        on_test = classifier.model_.predict_proba(test.texts, context)
    truncated = {**classifier.truncated_, "test": ledger.truncated_notes - before}
    model, aggregation = classifier.model_, None
    answers = {
        "validation": classifier.in_label_order(classifier.validation_probabilities_),
        "test": on_test,
    }
    if material.rule is not None and model.level == "note":
        aggregation = to_patients(classifier, material.rule, read, answers, material.metric, folder)
    scores, frames = {}, []
    for name, probabilities in answers.items():
        part = material.scored[name]
        predicted = classifier.threshold_.predict(classifier.task_, probabilities)
        scores[name] = _score(part, probabilities, predicted)
        frames.append(
            prediction_tables.prediction_frames(
                part.ids, name, part.labels, probabilities, predicted
            )
        )
    content: dict[str, Any] = {
        "threshold": {
            "value": classifier.threshold_.value,
            "at_least_one": classifier.threshold_.at_least_one,
            "chosen_on": "validation",
            "metric": material.metric,
        },
        "metrics": scores["test"],
        "validation_metrics": scores["validation"],
        "training": model.history_,
        "data": {
            **summarize(material.notes, material.fingerprint),
            "labelled": len(train) + len(validation),
            "truncated": truncated,
        },
        "encoder_sha256": getattr(model, "encoder_fingerprint_", None),
        "vectors_sha256": getattr(model, "vectors_fingerprint_", None),
        "cost": {
            "encode_seconds": encoding.encode_seconds,
            "encode_seconds_spent_here": watch.seconds["encode"] if encoding.encoded else 0.0,
            "fit_seconds": watch.seconds["fit"],
            "predict_seconds": watch.seconds["predict"],
            **resources.peak_memory(),
            "held_memory_bytes": held_bytes,
            "trainable_parameters": model.trainable_parameters_,
            "total_parameters": model.total_parameters_,
            "encoded_sequences": encoding.encoded,
            "reused_sequences": encoding.reused,
            "backend": ledger.backend,
            "memory_savings": ledger.memory_savings,
            # After an interruption, seconds and memory are those of the last attempt alone.
            "resumed": resumed,
        },
    }
    if aggregation is not None:
        content["aggregation"] = aggregation
    guarantee = getattr(model, "guarantee_", None)
    if guarantee is not None:
        most = int(np.bincount(train.clusters).max())
        epsilon, delta = guarantee.of_notes(most)
        patient = {"notes": most, "epsilon": epsilon, "delta": delta}
        content["privacy"] = {**asdict(guarantee), "of_the_patient_with_most_notes": patient}
    about = {
        "notes": "synthetic" if material.notes.synthetic else "real",
        "run": run_id,
    }
    prediction_tables.write_predictions(
        chain(*frames), folder / prediction_tables.PREDICTIONS, about
    )
    provenance = {
        "configuration": run.configuration.label,
        "run": run_id,
        "data": summarize(material.notes, material.fingerprint),
        "metrics": content["metrics"],
        "environment": environment,
    }
    content[PREDICTIONS_SHA256] = atomic_files.file_sha256(folder / prediction_tables.PREDICTIONS)
    train, validation = (material.scored[name] for name in ("train", "validation"))
    classifier.describe_notes(train.texts, validation.texts, validation.labels, validation.clusters)
    bundle = folder / result_files.BUNDLE
    shutil.rmtree(bundle, ignore_errors=True)  # a damaged one would be refused as no bundle
    save_bundle(classifier, bundle, provenance)
    content["cost"]["disk_bytes"] = resources.folder_bytes(bundle)
    content["cost"]["seconds"] = time.perf_counter() - started
    return content


def _score(
    part: Notes, probabilities: NDArray[np.float64], predicted: NDArray[np.bool_]
) -> dict[str, Any]:
    scores = metrics.scores(part.labels, probabilities, predicted, part.clusters)
    return {name: score.to_json() for name, score in scores.items()}


def _named(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)
