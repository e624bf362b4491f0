"""Export a bundle: what may run it is measured on real notes, and the fastest that agrees is kept.

Compared are probabilities, which is what users get: of the whole classifier, tokenizer and all. The
native model may do its matrix products in bf16, so even weights in fp32 do not agree to the last
digit, and the bounds allow for that.
"""

import copy
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.data.notes import read_texts
from clinadapt.data.text_store import Texts
from clinadapt.deployment.onnx_export.graph import quantise, write_onnx
from clinadapt.models.bundle.integrity import RECORD
from clinadapt.models.bundle.record import read_record
from clinadapt.models.bundle.save import save_bundle
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.load import load
from clinadapt.models.onnx_model import About, ExportedModel
from clinadapt.models.onnx_runtime import NETWORK_FILE, Runtime

Weights = Literal["fp32", "int8"]
# Largest difference of a probability; docs/export.md tells what they were measured against.
BOUNDS: dict[Weights, float] = {"fp32": 0.03, "int8": 0.05}
MOST_NOTES = 1_000
LEAST_NOTES = 20
ROUNDS = 2


@dataclass(frozen=True)
class Measured:
    """An exported network against the native one, on the same notes in the same run.

    Attributes
    ----------
    runtime : {"onnx", "openvino"}
    weights : {"fp32", "int8"}
    file_bytes : int
        Of the network.
    seconds : float
        Of all notes: the shortest of the rounds.
    speed : float
        Seconds of the native model divided by these.
    largest, mean : float
        Difference of a probability.
    changed : int
        Notes that are decided otherwise.
    notes : int
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
    """What an export found.

    Attributes
    ----------
    folder : Path
        The new bundle.
    chosen : Measured
    others : list of Measured
        What was measured beside it.
    native_seconds : float
    bound : float
    """

    folder: Path
    chosen: Measured
    others: list[Measured]
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
    encoding: str = "utf-8",
    most: int = MOST_NOTES,
) -> Exported:
    """Write a bundle whose network is an ONNX file, if it agrees with the native one on notes.

    Parameters
    ----------
    bundle : Path
    notes
        Anything that `clinadapt.data.table_readers.open_table` opens; no labels are needed.
    out : Path
        The new bundle.
    runtime : {"onnx", "openvino"}, optional
        Who is to run it; default: who is measured to be fastest of those that are installed.
    weights : {"fp32", "int8"}
    bound : float, optional
        Largest difference of a probability; default by `weights`.
    text, encoding : str
    most : int
        Notes that are read, spread evenly over the table.

    Returns
    -------
    Exported

    Raises
    ------
    InputError
        The bundle holds no network or one that cannot be exported; too few notes; or the exported
        network does not agree with the native one. Nothing is written then.
    MissingExtraError
        An optional library is not installed.
    """
    record = read_record(bundle)
    if out.exists() and not _was_exported(out):
        raise InputError(
            f"{out} is there, and what it holds would be lost (only an exported bundle is "
            "replaced): name another --out"
        )
    _, texts = read_texts(notes, text, encoding=encoding)
    if len(texts) < LEAST_NOTES:
        raise InputError(f"expected {LEAST_NOTES} notes at least to compare on, got {len(texts)}")
    rows = np.linspace(0, len(texts) - 1, min(len(texts), most)).astype(np.int64)
    shown = texts.take(rows)
    classifier = load(bundle)
    bound = BOUNDS[weights] if bound is None else bound
    with tempfile.TemporaryDirectory(prefix="clinadapt-export-") as folder:
        candidates = make_candidates(classifier, Path(folder), [weights], runtime)
        native_seconds, measured, _ = measure(classifier, candidates, shown)
        agreeing = [one for one in measured if one.largest <= bound]
        if not agreeing:
            raise InputError(_refusal(measured, bound))
        chosen = min(agreeing, key=lambda one: one.seconds)
        about = asdict(chosen) | {"bound": bound, "threads": torch.get_num_threads()}
        made = candidates[measured.index(chosen)]
        save_bundle(made, out, {**record["provenance"], "export": about})
    others = [one for one in measured if one is not chosen]
    return Exported(out, chosen, others, native_seconds, bound)


def make_candidates(
    classifier: NoteClassifier,
    folder: Path,
    weights: Sequence[Weights],
    runtime: Runtime | None = None,
) -> list[NoteClassifier]:
    """Classifiers that differ from one in who runs its network.

    Parameters
    ----------
    classifier : NoteClassifier
        Fitted.
    folder : Path
        Where the networks' files are written; needed as long as the classifiers are.
    weights : sequence of {"fp32", "int8"}
    runtime : {"onnx", "openvino"}, optional
        Default: those that are installed.

    Raises
    ------
    InputError
        No network, or one that cannot be exported.
    MissingExtraError
        An optional library is not installed.
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
    made = []
    for kind in weights:
        for one in runtimes:
            about = About(runtime=one, weights=kind, parameters=parameters)
            exported = ExportedModel.of(native, len(classifier.classes_), about, written[kind])
            changed = copy.copy(classifier)
            changed.model_ = classifier.model_.with_network_part(exported)
            made.append(changed)
    return made


def measure(
    classifier: NoteClassifier,
    candidates: Sequence[NoteClassifier],
    texts: Texts,
    rounds: int = ROUNDS,
) -> tuple[float, list[Measured], list[NDArray[np.float64]]]:
    """Time and agreement of exported networks, in turns with the native one.

    Parameters
    ----------
    classifier : NoteClassifier
        The native one.
    candidates : sequence of NoteClassifier
        From `make_candidates`.
    texts : Texts
    rounds : int
        How often each reads all notes; the shortest time counts.

    Returns
    -------
    float
        Seconds of the native one.
    list of Measured
        In the order of `candidates`.
    list of ndarray of float64, shape [note, class]
        Probabilities of the native one, then of each candidate.
    """
    everyone = [classifier, *candidates]
    for one in everyone:  # loads and warms up
        one.predict_proba(texts[: min(len(texts), LEAST_NOTES)])
    seconds = [float("inf")] * len(everyone)
    found: list[NDArray[np.float64]] = [np.empty(0)] * len(everyone)
    for _ in range(rounds):
        for number, one in enumerate(everyone):
            started = time.perf_counter()
            found[number] = one.predict_proba(texts)
            seconds[number] = min(seconds[number], time.perf_counter() - started)
    native = found[0]
    decided = classifier.predict_matrix(native)
    measured = []
    for one, took, probabilities in zip(candidates, seconds[1:], found[1:], strict=True):
        exported: Any = one.model_.network_part
        apart = np.abs(probabilities - native)
        changed = (classifier.predict_matrix(probabilities) != decided).any(axis=1)
        measured.append(
            Measured(
                runtime=exported.about.runtime,
                weights=exported.about.weights,
                file_bytes=(exported.folder / NETWORK_FILE).stat().st_size,
                seconds=took,
                speed=seconds[0] / took,
                largest=float(apart.max()),
                mean=float(apart.mean()),
                changed=int(changed.sum()),
                notes=len(texts),
            )
        )
    return seconds[0], measured, found


def _was_exported(folder: Path) -> bool:
    return (folder / RECORD).is_file() and "export" in read_record(folder)["provenance"]


def _refusal(measured: Sequence[Measured], bound: float) -> list[str]:
    apart = [
        f"{one.runtime}, {one.weights}: probabilities differ from the native ones by up to "
        f"{one.largest:.4f} on {one.notes:,} notes (mean {one.mean:.5f}, {one.changed} decisions "
        f"changed); allowed is {bound}"
        for one in measured
    ]
    return [
        *apart,
        "nothing was written: allow more (--bound), or leave --int8 out if it was given",
    ]
