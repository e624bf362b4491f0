"""Exports a bundle: compares runtimes on notes and keeps the fastest that agrees with the original.

The comparison is of probabilities of the complete classifier, tokenizer included. The native model
may compute matrix products in bf16, so even fp32 weights do not agree exactly; the bounds allow for
that.
"""

import copy
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.core.output_guard import Output, check_outputs
from clinadapt.data.tables.table import ReadOptions
from clinadapt.data.text_store import Texts
from clinadapt.data.unlabelled import read_texts
from clinadapt.deployment.onnx_export.graph import quantise, write_onnx
from clinadapt.models.bundle.integrity import foreign_files
from clinadapt.models.bundle.record import read_record
from clinadapt.models.bundle.save import save_bundle
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.files import NETWORK_FILE
from clinadapt.models.load import load
from clinadapt.models.onnx_model import About, ExportedModel
from clinadapt.models.onnx_runtime import Runtime

Weights = Literal["fp32", "int8"]
# Largest difference of a probability; see docs/export.md for measurements.
BOUNDS: dict[Weights, float] = {"fp32": 0.03, "int8": 0.05}
MOST_NOTES = 1_000
LEAST_NOTES = 20
ROUNDS = 2


@dataclass(frozen=True)
class ExportMeasurement:
    """Comparison of an exported network with the native one, on the same notes in the same process.

    Attributes
    ----------
    runtime : {"onnx", "openvino"}
    weights : {"fp32", "int8"}
    file_bytes : int
        Size of the network file.
    seconds : float
        Time for all notes; the shortest of the rounds.
    speed : float
        Speed relative to the native model.
    largest, mean : float
        Largest and mean absolute difference of a probability.
    changed : int
        Number of notes with a different prediction.
    notes : int
        Number of notes.
    """

    runtime: Runtime
    weights: Weights
    file_bytes: int
    seconds: float
    speed: float
    largest: float
    mean: float
    changed: int
    notes: int


@dataclass(frozen=True)
class Exported:
    """Result of an export.

    Attributes
    ----------
    folder : Path
        The new bundle.
    chosen : ExportMeasurement
        The candidate that was kept.
    others : list of ExportMeasurement
        The other candidates.
    native_seconds : float
        Time of the native model for all notes.
    bound : float
        Largest allowed difference of a probability.
    """

    folder: Path
    chosen: ExportMeasurement
    others: list[ExportMeasurement]
    native_seconds: float
    bound: float


def export_bundle(
    bundle: Path,
    notes: Any,
    out: Path,
    runtime: Runtime | None = None,
    weights: Weights = "fp32",
    bound: float | None = None,
    text: str = "text",
    most: int = MOST_NOTES,
    **options: Unpack[ReadOptions],
) -> Exported:
    """Write a bundle whose network is an ONNX file, if it agrees with the native one on notes.

    Parameters
    ----------
    bundle : Path
    notes : path or table
        Anything that `clinadapt.data.tables.opening.open_table` can open; labels are not needed.
    out : Path
        Folder of the new bundle.
    runtime : {"onnx", "openvino"}, optional
        Runtime for the network. Default: the fastest of those installed.
    weights : {"fp32", "int8"}
    bound : float, optional
        Largest allowed difference of a probability. Default: depends on `weights`.
    text : str
        Text column.
    most : int
        Maximum number of notes that are read, spread evenly over the table.
    **options
        ``encoding``, ``delimiter`` and ``missing``: how to read the table. See
        `clinadapt.data.tables.table.ReadOptions`.

    Returns
    -------
    Exported

    Raises
    ------
    InputError
        If the bundle has no network or one that cannot be exported, there are too few notes, or
        no exported network agrees with the native one. Nothing is written then.
    MissingExtraError
        If an optional library is not installed.
    """
    record = read_record(bundle)
    check_outputs([Output(out, "--out", _was_exported, folder=True)], [bundle, notes])
    _, texts = read_texts(notes, text, **options)
    if len(texts) < LEAST_NOTES:
        raise InputError(
            f"expected at least {LEAST_NOTES} notes for the comparison, got {len(texts)}"
        )
    rows = np.linspace(0, len(texts) - 1, min(len(texts), most)).astype(np.int64)
    sample = texts.take(rows)
    classifier = load(bundle)
    bound = BOUNDS[weights] if bound is None else bound
    with tempfile.TemporaryDirectory(prefix="clinadapt-export-") as folder:
        candidates = make_candidates(classifier, Path(folder), [weights], runtime)
        native_seconds, measured, _ = measure(classifier, candidates, sample)
        agreeing = [one for one in measured if one.largest <= bound]
        if not agreeing:
            raise InputError(_refusal(measured, bound))
        chosen = min(agreeing, key=lambda one: one.seconds)
        about = asdict(chosen) | {"bound": bound, "threads": torch.get_num_threads()}
        exported = candidates[measured.index(chosen)]
        save_bundle(exported, out, {**record["provenance"], "export": about})
    others = [one for one in measured if one is not chosen]
    return Exported(out, chosen, others, native_seconds, bound)


def make_candidates(
    classifier: NoteClassifier,
    folder: Path,
    weights: Sequence[Weights],
    runtime: Runtime | None = None,
) -> list[NoteClassifier]:
    """Return copies of a classifier whose networks are exported, one per weights and runtime.

    Parameters
    ----------
    classifier : NoteClassifier
        Fitted classifier.
    folder : Path
        Folder for the network files; must exist as long as the copies are used.
    weights : sequence of {"fp32", "int8"}
    runtime : {"onnx", "openvino"}, optional
        Runtime. Default: all that are installed.

    Raises
    ------
    InputError
        If there is no network, or one that cannot be exported.
    MissingExtraError
        If an optional library is not installed.
    """
    native = classifier.model_.network_part
    network = native.token_network()
    parameters = native.total_parameters_
    written: dict[Weights, Path] = {"fp32": folder / "fp32", "int8": folder / "int8"}
    for place in written.values():
        place.mkdir()
    write_onnx(network, written["fp32"] / NETWORK_FILE)
    if "int8" in weights:
        quantise(written["fp32"] / NETWORK_FILE, written["int8"] / NETWORK_FILE)
    runtimes: list[Runtime] = ["onnx"] if runtime is None else [runtime]
    if runtime is None and find_spec("openvino") is not None:
        runtimes.append("openvino")
    candidates = []
    for kind in weights:
        for runner in runtimes:
            about = About(runtime=runner, weights=kind, parameters=parameters)
            exported = ExportedModel.of(native, len(classifier.classes_), about, written[kind])
            candidate = copy.copy(classifier)
            candidate.model_ = classifier.model_.with_network_part(exported)
            candidates.append(candidate)
    return candidates


def measure(
    classifier: NoteClassifier,
    candidates: Sequence[NoteClassifier],
    texts: Texts,
    rounds: int = ROUNDS,
) -> tuple[float, list[ExportMeasurement], list[NDArray[np.float64]]]:
    """Measure time and agreement of exported networks, alternating with the native one.

    Parameters
    ----------
    classifier : NoteClassifier
        Native classifier.
    candidates : sequence of NoteClassifier
        Classifiers from `make_candidates`.
    texts : Texts
    rounds : int
        Number of times each classifier reads all notes; the shortest time counts.

    Returns
    -------
    float
        Seconds of the native classifier.
    list of ExportMeasurement
        In the order of `candidates`.
    list of ndarray of float64, shape [note, class]
        Probabilities of the native classifier, then of each candidate.
    """
    classifiers = [classifier, *candidates]
    for each in classifiers:  # loads and warms up
        each.predict_proba(texts[: min(len(texts), LEAST_NOTES)])
    seconds = [float("inf")] * len(classifiers)
    probabilities: list[NDArray[np.float64]] = [np.empty(0)] * len(classifiers)
    for _ in range(rounds):
        for number, each in enumerate(classifiers):
            started = time.perf_counter()
            probabilities[number] = each.predict_proba(texts)
            seconds[number] = min(seconds[number], time.perf_counter() - started)
    native = probabilities[0]
    predicted = classifier.predict_matrix(native)
    measured = []
    for candidate, taken, other in zip(candidates, seconds[1:], probabilities[1:], strict=True):
        exported: Any = candidate.model_.network_part
        difference = np.abs(other - native)
        changed = (classifier.predict_matrix(other) != predicted).any(axis=1)
        measured.append(
            ExportMeasurement(
                runtime=exported.about.runtime,
                weights=exported.about.weights,
                file_bytes=(exported.folder / NETWORK_FILE).stat().st_size,
                seconds=taken,
                speed=seconds[0] / taken,
                largest=float(difference.max()),
                mean=float(difference.mean()),
                changed=int(changed.sum()),
                notes=len(texts),
            )
        )
    return seconds[0], measured, probabilities


def _was_exported(folder: Path) -> bool:
    """Return whether a folder is an exported bundle and nothing else."""
    return not foreign_files(folder) and "export" in read_record(folder)["provenance"]


def _refusal(measured: Sequence[ExportMeasurement], bound: float) -> list[str]:
    differences = [
        f"{one.runtime}, {one.weights}: probabilities differ from the native ones by up to "
        f"{one.largest:.4f} on {one.notes:,} notes (mean {one.mean:.5f}, {one.changed} predictions "
        f"changed); the bound is {bound}"
        for one in measured
    ]
    return [
        *differences,
        "nothing was written: raise the bound (--bound), or remove --int8 if it was given",
    ]
