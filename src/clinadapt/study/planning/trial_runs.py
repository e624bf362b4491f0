"""Trials: short runs of a configuration on a few of the user's own notes, timed step by step.

They run the study's own code with two epochs instead of all, on two or three samples that grow
until a trial takes some seconds. `clinadapt.study.planning.forecast` extrapolates from them.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from clinadapt.core import resources
from clinadapt.core.device import compute_dtype, pick_device
from clinadapt.core.run_context import Context, Ledger
from clinadapt.data.split import PARTS
from clinadapt.features.encoders.pretrained import open_encoder
from clinadapt.features.feature_cache import SHARD_TOKENS
from clinadapt.features.tokenization import Truncation, tokenize
from clinadapt.study.design import Run
from clinadapt.study.setup import StudySetup

LEAST_NOTES, LEAST_HELD = 24, 8
ENOUGH_SECONDS = 3.0  # long enough to extrapolate from
AIM_SECONDS = 5.0
MOST_GROWTH = 8
EPOCHS = 2
LENGTHS_OF = 8_192
Rows = dict[str, NDArray[np.int64]]


@dataclass
class Timeline:
    """Times at which the training steps of a fit ended; serves as its progress callback.

    Attributes
    ----------
    phases : list of list of list of float
        Times by training stage (an autoencoder's, then its classifier's), epoch and step.
    """

    phases: list[list[list[float]]] = field(default_factory=list)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Record the time of a step."""
        epoch = re.search(r"epoch (\d+)/\d+$", stage)
        if epoch is None:
            return
        if done == 1 and epoch[1] == "1":
            self.phases.append([])
        if done == 1:
            self.phases[-1].append([])
        self.phases[-1][-1].append(time.perf_counter())


@dataclass(frozen=True, eq=False)
class Trial:
    """Measurements of a run on some notes.

    Attributes
    ----------
    train, notes : int
        Number of training notes, and of notes in all parts.
    rows : ndarray of int64
        Row numbers of the training notes.
    seconds : float
        Time without computing cached features.
    phases : list
        See `Timeline`.
    cost : mapping
        See a run's ``result.json``.
    """

    train: int
    notes: int
    rows: NDArray[np.int64]
    seconds: float
    phases: list[list[list[float]]]
    cost: Mapping[str, Any]

    @property
    def fixed(self) -> float:
        """Seconds outside training, which do not grow with the epochs."""
        training = 0.0
        for number, phase in enumerate(self.phases):
            steps = list(chain.from_iterable(self.step_seconds(number)))
            first = float(np.mean(steps)) if steps else 0.0
            training += phase[-1][-1] - phase[0][0] + first
        return max(0.0, self.seconds - training)

    def step_seconds(self, phase: int) -> list[list[float]]:
        """Return the seconds of each step of each epoch, except the epoch's first step."""
        return [[b - a for a, b in pairwise(times)] for times in self.phases[phase]]

    def between_seconds(self, phase: int) -> float:
        """Return the mean seconds between epochs: scoring validation notes, saving weights."""
        steps = list(chain.from_iterable(self.step_seconds(phase)))
        usual = float(np.mean(steps)) if steps else 0.0
        gaps = [b[0] - a[-1] - usual for a, b in pairwise(self.phases[phase])]
        return max(0.0, float(np.mean(gaps)))


@dataclass(frozen=True)
class Reading:
    """Measurements of a frozen encoder's pass over some notes.

    Attributes
    ----------
    key : str
        Key of the cached features; features with the same key are computed once.
    load_seconds : float
        Time to load model and tokens; for the first encoder, its libraries too.
    tokens_per_second : float
    tokens : int
        Tokens read by the pass.
    width, item_bytes : int
        Width of the features; bytes of a number while they are computed.
    peak_bytes : int
    train : int
        Training notes among those that were read.
    """

    key: str
    load_seconds: float
    tokens_per_second: float
    tokens: int
    width: int
    item_bytes: int
    peak_bytes: int
    train: int

    def peak(self, tokens: int) -> int:
        """Return the peak bytes of a pass over some tokens; a shard is held twice while written."""
        more = max(0, min(tokens, SHARD_TOKENS) - min(self.tokens, SHARD_TOKENS))
        return self.peak_bytes + 2 * more * self.width * self.item_bytes


class Prober:
    """Runs trials of a study's configurations on samples of its notes.

    Parameters
    ----------
    study : Study
    folder : Path
        Folder for bundles and cached features of the samples; they reflect patient text.
    """

    def __init__(self, study: StudySetup, folder: Path) -> None:
        self.study = study
        self.folder = folder
        self.cache = folder / "cache"
        self._order = {
            name: _mixed(rows, study.notes.labels.matrix[rows])
            for name, rows in study.split.parts().items()
        }
        self._readings: dict[str, Reading] = {}
        self._lengths: dict[tuple[str, int, str], Rows] = {}

    @property
    def train(self) -> int:
        """Number of training notes in the study."""
        return len(self._order["train"])

    @property
    def notes(self) -> int:
        """Number of notes in the study."""
        return sum(map(len, self._order.values()))

    def sample(self, train: int) -> Rows:
        """Sample training notes and the same share of the other parts; samples are nested."""
        share = train / self.train
        wanted = {name: round(len(rows) * share) for name, rows in self._order.items()}
        least = {"train": train, "validation": LEAST_HELD, "test": LEAST_HELD}
        return {
            name: np.sort(rows[: max(least[name], wanted[name])])
            for name, rows in self._order.items()
        }

    # ------------------------------------------------------------------ trials

    def trials(self, run: Run, most: int | None = None) -> list[Trial]:
        """Fit a run on growing samples; the first warms up, the last takes some seconds.

        Parameters
        ----------
        run : Run
        most : int, optional
            Number of training notes whose cached features exist already.
        """
        batch = int(run.resolved.get("batch_size", 1))
        size = min(self.train, max(LEAST_NOTES, 2 * batch))
        largest = min(self.train, max(most or self.train, 2 * size))
        trials: list[Trial] = []
        while True:
            trials.append(self._trial(run, size))
            seconds = trials[-1].cost["seconds"]
            if size == largest or (len(trials) > 1 and seconds > ENOUGH_SECONDS):
                return trials
            growth = min(MOST_GROWTH, max(2.0, AIM_SECONDS / seconds))
            size = min(largest, round(size * growth))
            if size > largest / 2:  # all notes take little more, and need no extrapolation
                size = largest

    def _trial(self, run: Run, train: int) -> Trial:
        rows = self.sample(train)
        timeline = Timeline()
        cost = self.study.probe(_shortened(run), rows, self.folder, timeline)["cost"]
        return Trial(
            train=len(rows["train"]),
            notes=sum(map(len, rows.values())),
            rows=rows["train"],
            seconds=cost["seconds"] - cost["encode_seconds_spent_here"],
            phases=timeline.phases,
            cost=cost,
        )

    # ------------------------------------------------------------------ cached features

    def reading(self, run: Run, model: Any) -> Reading | None:
        """Measure the pass through the model's frozen layers; None if it has none.

        Parameters
        ----------
        run : Run
        model : PretrainedModel
            Unfitted; its encoder is opened here.

        Raises
        ------
        EncoderNotFoundError, InputError
            See `PretrainedModel.prepare`.
        """
        first = self.sample(min(self.train, LEAST_NOTES))
        once = _first_time_seconds(model.encoder)
        warm = self._read(model, first)  # also opens the encoder, and chooses the backend
        if not model.split_layer_:
            return None
        settings = (model.max_tokens, model.truncation, model.precision, warm.backend)
        key = "|".join(map(str, (model.encoder_.fingerprint, model.split_layer_, *settings)))
        if key not in self._readings:
            rate = self._tokens(model, first) / max(warm.encode_seconds, 1e-3)
            total = self.tokens(model.encoder_.tokenizer, model)
            wanted = min(SHARD_TOKENS, AIM_SECONDS * rate)
            train = round(self.train * min(1.0, wanted / total))
            rows = self.sample(max(len(first["train"]), train))
            resources.reset_peak_memory()
            started = time.perf_counter()
            ledger = self._read(model, rows)
            passed = time.perf_counter() - started
            read, fresh = self._tokens(model, rows), ledger.encode_seconds - warm.encode_seconds
            if ledger.encoded:
                load, rate = passed - fresh, (read - self._tokens(model, first)) / fresh
            else:  # so few notes that the warm-up read them all
                load = passed
            self._readings[key] = Reading(
                key=key,
                load_seconds=load + once,
                tokens_per_second=rate,
                tokens=read,
                width=model.encoder_.width_at(model.split_layer_),
                item_bytes=compute_dtype(model.precision, pick_device(model.device)).itemsize,
                train=len(rows["train"]),
                peak_bytes=resources.peak_memory()["peak_memory_bytes"],
            )
        return self._readings[key]

    def _read(self, model: Any, rows: Rows) -> Ledger:
        ledger = Ledger()
        chosen = np.concatenate([rows[name] for name in PARTS])
        model.prepare(self.study.notes.texts.take(chosen), Context(self.cache, ledger=ledger))
        return ledger

    def _tokens(self, model: Any, rows: Rows) -> int:
        return sum(
            int(self.lengths_of(model.encoder_.tokenizer, part, model).sum())
            for part in rows.values()
        )

    # ------------------------------------------------------------------ tokens

    def lengths_of(
        self, tokenizer: Tokenizer, rows: NDArray[np.int64], model: Any
    ) -> NDArray[np.int64]:
        """Return the number of tokens of some notes [note]."""
        truncation: Truncation = model.truncation
        tokens = tokenize(
            tokenizer, list(self.study.notes.texts.take(rows)), model.max_tokens, truncation
        )
        return np.add.reduceat(tokens.lengths, tokens.first[:-1])

    def lengths(self, tokenizer: Tokenizer, model: Any) -> Rows:
        """Return the tokens of each note by part, or of a sample where there are very many."""
        key = (tokenizer.to_str()[:10_000], model.max_tokens, model.truncation)
        if key not in self._lengths:
            share = min(1.0, LENGTHS_OF / self.notes)
            rows = self.sample(max(1, int(self.train * share)))
            self._lengths[key] = {
                name: self.lengths_of(tokenizer, part, model) for name, part in rows.items()
            }
        return self._lengths[key]

    def tokens(self, tokenizer: Tokenizer, model: Any) -> int:
        """Return the number of tokens of all notes."""
        lengths = self.lengths(tokenizer, model)
        return sum(
            round(float(lengths[name].mean()) * len(rows)) for name, rows in self._order.items()
        )


def _mixed(rows: NDArray[np.int64], matrix: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return row numbers in a fixed random order, one note of each class first."""
    order = np.random.default_rng(0).permutation(len(rows))
    first = [int(order[np.argmax(matrix[order, code])]) for code in range(matrix.shape[1])]
    ahead = np.array(list(dict.fromkeys(first)), dtype=np.int64)
    return rows[np.r_[ahead, order[~np.isin(order, ahead)]]]


def _shortened(run: Run) -> Run:
    """Return the run with few epochs."""
    few = dict.fromkeys(run.build().epoch_settings, EPOCHS)
    return Run(replace(run.configuration, settings={**run.configuration.settings, **few}), run.seed)


@cache
def _first_time_seconds(encoder: str) -> float:
    """Return the extra seconds of loading an encoder the first time: libraries, cold files.

    Raises
    ------
    EncoderNotFoundError
        The encoder is not on this machine.
    """
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        open_encoder(encoder).load()
        seconds.append(time.perf_counter() - started)
    return max(0.0, seconds[0] - seconds[1])
