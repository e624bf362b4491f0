"""Machines known by name, and what a forecast made here amounts to there.

Matrix work is counted as seconds here times the matrix rate here; over there it goes at that
machine's rate, at the share of it that the same code reaches here, and never faster than weights
and states can be moved. Everything else is taken to run as on this machine's CPU. This is an
estimate: nothing was measured there.
"""

import time
from dataclasses import dataclass, replace
from functools import cache

import torch

from clinadapt.core.errors import InputError, LimitError
from clinadapt.neural.training.memory_budget import Footprint, choose_economy
from clinadapt.study.planning.forecast import Forecast

# About the products of a batch of notes with a feed-forward matrix of a base-size encoder.
ROWS, INNER, COLUMNS = 2048, 768, 3072
MEASURE_SECONDS = 0.5
# A third more: layers run forward twice (Chen et al. 2016).
RECOMPUTE = 4 / 3


@dataclass(frozen=True)
class Machine:
    """A machine that is not here.

    Attributes
    ----------
    name, what : str
    memory : int
        Bytes: of the GPU, or of the machine where it has none.
    fp32_rate, bf16_rate : float
        Largest rate of matrix products [FLOP/s]; without bf16 both are the same.
    bandwidth : float
        Of its memory [bytes/s].
    gpu : bool
    context : int
        Bytes that a process takes on the GPU before anything else.
    """

    name: str
    what: str
    memory: int
    fp32_rate: float
    bf16_rate: float
    bandwidth: float
    gpu: bool
    context: int = 0

    def rate(self, bf16: bool) -> float:
        """Matrix rate [FLOP/s]."""
        return self.bf16_rate if bf16 else self.fp32_rate

    @property
    def has_bf16(self) -> bool:
        """Whether bf16 is faster there."""
        return self.bf16_rate > self.fp32_rate


MACHINES = {
    machine.name: machine
    for machine in (
        Machine(
            name="paper-card",
            what="the card of arXiv 2407.19299: 2 GB, 1.386 TFLOP/s",
            memory=2 * 10**9,
            fp32_rate=1.386e12,
            bf16_rate=1.386e12,
            bandwidth=80e9,  # of cards of that size and rate; the paper does not give it
            gpu=True,
            context=3 * 10**8,
        ),
        Machine(
            name="laptop",
            what="a laptop's CPU of four cores, 8 GB, 0.15 TFLOP/s, no bf16",
            memory=8 * 10**9,
            fp32_rate=1.5e11,
            bf16_rate=1.5e11,
            bandwidth=25e9,
            gpu=False,
        ),
        Machine(
            name="a100-80gb",
            what="a GPU of 80 GB, 312 TFLOP/s in bf16",
            memory=80 * 10**9,
            fp32_rate=19.5e12,
            bf16_rate=312e12,
            bandwidth=2.0e12,
            gpu=True,
            context=5 * 10**8,
        ),
    )
}


def find_machine(name: str) -> Machine:
    """Machine of a name.

    Raises
    ------
    InputError
        Unknown.
    """
    if name not in MACHINES:
        raise InputError(f"unknown machine {name!r}; known: {', '.join(MACHINES)}")
    return MACHINES[name]


@cache
def matrix_rate(bf16: bool) -> float:
    """Rate of matrix products on this machine [FLOP/s], measured for half a second."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if bf16 else torch.float32
    left = torch.ones(ROWS, INNER, device=device, dtype=dtype)
    right = torch.ones(INNER, COLUMNS, device=device, dtype=dtype)
    best, end = float("inf"), time.perf_counter() + MEASURE_SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        product = left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
        del product
    return 2 * ROWS * INNER * COLUMNS / best


def there(forecast: Forecast, machine: Machine, memory: int, here: float) -> Forecast:
    """What a row would cost on another machine.

    Parameters
    ----------
    forecast : Forecast
        Made here.
    machine : Machine
    memory : int
        Bytes that it may use there.
    here : float
        This machine's matrix rate [FLOP/s], of the forecast's precision.
    """
    if forecast.reason is not None or forecast.footprint is None:
        return forecast  # without an encoder, its little work stays on a CPU like this one
    footprint = _footprint(forecast.footprint, forecast, machine)
    try:
        economy = choose_economy(footprint, memory)
    except LimitError as error:
        return replace(forecast, reason=str(error), fits=False)
    faster = machine.rate(forecast.bf16) / here
    slower = RECOMPUTE if economy.recompute else 1.0
    least = forecast.epoch_bytes / machine.bandwidth
    return replace(
        forecast,
        phases=tuple(
            replace(
                phase,
                epoch_seconds=max(least, phase.epoch_seconds / faster * slower),
                between_seconds=phase.between_seconds / faster,
            )
            for phase in forecast.phases
        ),
        states_seconds=max(
            forecast.states_bytes / machine.bandwidth, forecast.states_seconds / faster
        ),
        held_bytes=footprint.held,
        peak_bytes=footprint.peak(economy),
        states_peak_bytes=footprint.held if machine.gpu else forecast.states_peak_bytes,
        economies=tuple(economy.words()),
    )


def _footprint(footprint: Footprint, forecast: Forecast, machine: Machine) -> Footprint:
    """Without this process's own memory on a GPU; twice the activations without bf16."""
    wider = 2 if forecast.bf16 and not machine.has_bf16 else 1
    held = footprint.held
    if machine.gpu:
        held = machine.context + forecast.weights_bytes
    return replace(
        footprint,
        held=held,
        sequence=footprint.sequence * wider,
        sequence_recomputed=footprint.sequence_recomputed * wider,
    )
