"""Electricity of a run, by codecarbon, and how it is known: an extra, `clinadapt[energy]`.

Most machines have no meter that a program may read. What codecarbon reports is then an estimate;
a record says so of each part, with what codecarbon itself warned of.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from clinadapt.core.errors import InputError, MissingExtraError

# By codecarbon's names of the ways in which it knows a processor's power, and a card's.
METERS = {
    "RAPL": "RAPL counters",
    "Windows EMI": "the Windows energy meter",
    "Power Gadget": "Intel Power Gadget",
    "PowerMetrics": "powermetrics",
    "raspberry": "the board's power chip",
}
MODELS = {
    "cpu_load": "its load and nominal power",
    "global constant": "half of its nominal power",
}
DRIVERS = ("pynvml", "amdsmi")
# Everything that a configuration file or variable of codecarbon's could change otherwise: no
# output, no server, no other factor than the country's.
SETTINGS: dict[str, Any] = {
    "tracking_mode": "machine",  # counters know no processes
    "measure_power_secs": 15,  # counters overflow after some minutes: read them before
    "output_methods": [],
    "output_handlers": [],
    "emissions_endpoint": None,
    "electricitymaps_api_token": "",
    "cloud_provider": None,
    "cloud_region": None,
    "region": None,
    "force_cpu_power": None,
    "force_ram_power": None,
    "force_carbon_intensity_g_co2e_kwh": None,
    "force_mode_cpu_load": False,
    "rapl_include_dram": False,
    "rapl_prefer_psys": False,
    "pue": 1.0,
    "wue": 0.0,
    "allow_multiple_runs": True,  # the other choice takes over signals, and a file
    "log_level": "warning",
    "logger_preamble": "",
}
ALWAYS_SAID = "Multiple instances of codecarbon are allowed"


class Meter:
    """Measures stretches of work.

    Parameters
    ----------
    country : str
        Of the electricity: ISO 3166-1 code of three letters, whose yearly mean turns kWh into CO2e.

    Attributes
    ----------
    parts : dict
        Of "cpu", "memory" and, where there is one, "gpu": ``mode``, codecarbon's name of the way;
        whether it is ``measured``; and in words ``by`` what.
    warnings : list of str
        What codecarbon said when it looked for meters.

    Raises
    ------
    InputError
        codecarbon does not know the country, or fails on this machine.
    MissingExtraError
        codecarbon is not installed.
    """

    def __init__(self, country: str) -> None:
        self.country = country.upper()
        with _quiet() as self.warnings:
            try:
                from codecarbon.input import DataSource
            except ImportError:
                raise MissingExtraError(
                    "measuring energy needs codecarbon: pip install 'clinadapt[energy]'"
                ) from None
            if self.country not in DataSource().get_global_energy_mix_data():
                raise InputError(
                    f"energy: no country {country!r}: expected the ISO 3166-1 code of three "
                    "letters of a country whose electricity codecarbon knows, such as FRA or USA"
                )
            try:
                from codecarbon.core.resource_tracker import ResourceTracker

                with self._tracker() as tracker:
                    hardware = tracker.get_detected_hardware()
                    # The tracker does not tell how it will measure; what sets that up does.
                    ways = ResourceTracker(tracker)
                    ways.set_CPU_GPU_ram_tracking()
                self.parts = parts(ways.cpu_tracker, ways.gpu_tracker, hardware)
            except Exception as error:  # of any of the drivers that it asks
                raise InputError(f"energy: codecarbon cannot measure here: {error}") from error

    @contextmanager
    def measure(self) -> Iterator[dict[str, Any]]:
        """Fill in a record of what a `with` block took, at its end.

        Yields
        ------
        dict
            ``kwh`` and ``kg_co2e``, null where codecarbon failed; ``kind``, see `kind`;
            ``scope``, what was measured; ``seconds``; of each part its ``kwh`` and how it is
            known; ``country`` and ``g_co2e_per_kwh``; ``codecarbon``, its version; ``warnings``.
        """
        record: dict[str, Any] = {}
        with _quiet() as warnings, self._tracker() as tracker:
            tracker.start()
            started = time.perf_counter()
            try:
                yield record
            finally:
                record["seconds"] = time.perf_counter() - started
                tracker.stop()
        record |= self._record(getattr(tracker, "final_emissions_data", None))
        record["warnings"] = [*self.warnings, *warnings]

    @contextmanager
    def _tracker(self) -> Iterator[Any]:
        from codecarbon import OfflineEmissionsTracker

        # Some meters come as files that codecarbon has written.
        with TemporaryDirectory(prefix="clinadapt-") as folder:
            yield OfflineEmissionsTracker(
                country_iso_code=self.country, output_dir=folder, **SETTINGS
            )

    def _record(self, found: Any) -> dict[str, Any]:
        about = {"kind": kind(self.parts), "scope": "machine", "country": self.country}
        if found is None:
            return {"kwh": None, "kg_co2e": None, **about, **self.parts}
        kwh = {"cpu": found.cpu_energy, "memory": found.ram_energy, "gpu": found.gpu_energy}
        grams = 1000 * found.emissions / found.energy_consumed if found.energy_consumed else None
        return {
            "kwh": found.energy_consumed,
            "kg_co2e": found.emissions,
            **about,
            "g_co2e_per_kwh": None if grams is None else round(grams, 3),
            **{name: {"kwh": kwh[name], **part} for name, part in self.parts.items()},
            "codecarbon": found.codecarbon_version,
        }


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """Collect what codecarbon warns of, and print nothing."""
    told: list[str] = []

    def collect(record: logging.LogRecord) -> bool:
        text = " ".join(record.getMessage().split())
        if record.levelno >= logging.WARNING and not text.startswith(ALWAYS_SAID):
            told.append(f"{text} ({record.exc_info[1]!r})" if record.exc_info else text)
        return False

    logger = logging.getLogger("codecarbon")
    logger.addFilter(collect)
    try:
        yield told
    finally:
        logger.removeFilter(collect)


def parts(cpu: str, gpu: str, hardware: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """How the energy of each part of a machine is known to codecarbon.

    What is not known to be a meter is called an estimate.

    Parameters
    ----------
    cpu, gpu : str
        codecarbon's names of the ways in which their power is known.
    hardware : mapping
        What codecarbon's tracker has detected.

    Returns
    -------
    dict
        See `Meter.parts`.
    """
    by = METERS.get(cpu) or MODELS.get(cpu, "means unknown")
    found: dict[str, dict[str, Any]] = {
        "cpu": {"mode": cpu, "measured": cpu in METERS, "by": by, "model": hardware["cpu_model"]},
        "memory": {"mode": "size", "measured": False, "by": "its size"},
    }
    if cpu == "raspberry":  # its chip reads the memory's rails, too
        found["memory"] = {"mode": cpu, "measured": True, "by": by}
    if gpu in DRIVERS:
        answers = bool(hardware["gpu_count"])
        by = "the driver's counters or power readings" if answers else "nothing: no card answers"
        found["gpu"] = {"mode": gpu, "measured": answers, "by": by}
    elif gpu in METERS:
        found["gpu"] = {"mode": gpu, "measured": True, "by": METERS[gpu]}
    return found


def in_words(record: Mapping[str, Any]) -> str:
    """Say how energy is known: what is measured, what is an estimate, and of what.

    Parameters
    ----------
    record : mapping
        Of a run, or `Meter.parts`.
    """
    said = []
    for name, spelt in (("cpu", "CPU"), ("gpu", "GPU"), ("memory", "memory")):
        if name not in record:
            continue
        part = record[name]
        how = "measured by" if part["measured"] else "estimated from"
        said.append(f"{spelt} {how} {part['by']}")
    return "; ".join(said)


def kind(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return "measured", "part estimate" or "estimate": what the sum over `Meter.parts` is."""
    known = {part["measured"] for part in parts.values()}
    if False not in known:
        return "measured"
    return "part estimate" if True in known else "estimate"
