"""One run: fit its model, score it, save it, and record the cost."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core import atomic_files, resources
from clinadapt.core.arrays import Floats
from clinadapt.core.run_context import Context, Ledger, Progress
from clinadapt.data import prediction_tables
from clinadapt.data.notes import Notes
from clinadapt.data.summary import summarize
from clinadapt.evaluation import calibration_choice, metrics
from clinadapt.evaluation.patient_level import aggregate
from clinadapt.models.bundle.save import save_bundle
from clinadapt.models.classifier import NoteClassifier
from clinadapt.study import result_files
from clinadapt.study.cross_validation import (
    answers_of,
    cross_validate,
    fit,
    fit_outer_fold,
    joined,
)
from clinadapt.study.design import Run
from clinadapt.study.material import Material
from clinadapt.study.patient_runs import patient_numbers, to_patients, write_note_predictions
from clinadapt.study.run_store import PREDICTIONS_SHA256

CHECKPOINT = "checkpoint.pt"
FOLDS, OUTER = "folds", "outer"  # folders for what the folds gave; a refit reads it


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
    read = material if run.configuration.cls.level == "note" else material.units
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
        in_order = np.concatenate(list(read.split.parts().values()))
        classifier.prepare(read.notes.texts.take(in_order), context)
    encoding = replace(ledger)
    with watch.stage("folds"):
        outside = cross_validate(read, run, folder / FOLDS, context)
        outer = [
            fit_outer_fold(fold, run, folder / OUTER / str(number), context)
            for number, fold in enumerate(read.outer, start=1)
        ]
    with watch.stage("fit"):
        fit(classifier, read, outside, context)
    model, scored = classifier.model_, material.scored
    before = ledger.truncated_notes
    with watch.stage("predict"):
        of_notes = {"validation": classifier.in_label_order(classifier.validation_probabilities_)}
        if not outer:
            of_notes["test"] = model.predict_proba(read.read["test"].texts, context)
        if read.patients is not None:
            write_note_predictions(classifier, read, of_notes, folder)
        aggregation = to_patients(classifier, read)
        held = classifier.in_label_order(classifier.validation_probabilities_)
        answers = {"validation": answers_of(classifier, held)}
        if outer:
            answers["test"] = joined(material, outer)
        else:
            tested = of_notes["test"]
            if aggregation is not None:
                numbers = patient_numbers(read.read["test"])
                tested = aggregate(classifier.task_, tested, numbers, aggregation["name"])
            answers["test"] = answers_of(classifier, tested)
    truncated = {**classifier.truncated_, "test": ledger.truncated_notes - before}
    scores, frames = {}, []
    for name, (probabilities, predicted) in answers.items():
        part = scored[name]
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
            "chosen_on": "out-of-fold" if outside else "validation",
            "metric": material.metric,
        },
        "metrics": scores["test"],
        "validation_metrics": scores["validation"],
        "decisions": None if outside is None else dict(outside.decisions),
        "outer_validation": [fold.validation for fold in outer],
        "training": model.history_ if outside is None else outside.history,
        "data": {
            **summarize(material.notes, material.fingerprint),
            "labelled": len(material.labelled_rows),
            "truncated": truncated,
        },
        "encoder_sha256": getattr(model, "encoder_fingerprint_", None),
        "vectors_sha256": getattr(model, "vectors_fingerprint_", None),
        "cost": {
            "encode_seconds": encoding.encode_seconds,
            "encode_seconds_spent_here": watch.seconds["encode"] if encoding.encoded else 0.0,
            "folds_seconds": watch.seconds["folds"],
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
        content["aggregation"] = {**aggregation, "chosen_on": content["threshold"]["chosen_on"]}
    guarantee = getattr(model, "guarantee_", None)
    if guarantee is not None:
        most = int(np.bincount(material.parts["train"].clusters).max())
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
    learned = material.units.labelled if outside else material.units.parts["train"]
    held_out = scored["validation"]
    classifier.describe_notes(learned.texts, held_out.texts, held_out.labels, held_out.clusters)
    classifier.calibrate(held_out.labels, held, held_out.clusters)
    classifier.learn_abstention(held_out.labels, held_out.clusters)
    # The test notes of a nested study are those that the map learned from.
    tested_on = None if outer else (scored["test"], answers["test"][0])
    content["calibration"] = provenance["calibration"] = _calibration(classifier, tested_on)
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


def _calibration(
    classifier: NoteClassifier, tested_on: tuple[Notes, Floats] | None
) -> dict[str, Any] | None:
    """Return the map of the probabilities and what it does on test notes; None without one."""
    chosen = classifier.calibration_
    if chosen is None:
        return None
    content = chosen.model_dump(mode="json")
    if tested_on is None:
        return {**content, "test": None}
    test, probabilities = tested_on
    compared = calibration_choice.compare(chosen.map, test.labels, probabilities, test.clusters)
    return {**content, "test": compared}


def _named(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)
