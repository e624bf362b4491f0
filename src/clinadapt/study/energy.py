"""Electricity used by a run, by codecarbon: an optional extra, `clinadapt[energy]`.

Most machines have no meter that a program may read, and codecarbon then reports an estimate. Each
record states for every part of the machine whether it is measured or estimated, and includes
codecarbon's warnings.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from clinadapt.core.errors import InputError, MissingExtraError

# codecarbon's names for its sources of a processor's or a graphics card's power.
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
# Set explicitly, because codecarbon's configuration files and environment variables could change
# them: no output, no server, no factor other than the country's.
SETTINGS: dict[str, Any] = {
    "tracking_mode": "machine",  # the counters cannot tell processes apart
    "measure_power_secs": 15,  # counters overflow after some minutes
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
    "allow_multiple_runs": True,  # otherwise it installs signal handlers and a lock file
    "log_level": "warning",
    "logger_preamble": "",
}
ROUTINE_WARNING = "Multiple instances of codecarbon are allowed"


class Meter:
    """Meter of the machine's energy.

    Parameters
    ----------
    country : str
        Three-letter ISO 3166-1 code; the country's yearly mean converts kWh to CO2e.

    Attributes
    ----------
    parts : dict
        For "cpu", "memory" and, if there is one, "gpu": ``mode``, codecarbon's name for the
        source; ``measured``, whether it is a meter; ``by``, the source in words.
    warnings : list of str
        codecarbon's warnings while it looked for meters.

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
                    f"energy: unknown country {country!r}: expected an ISO 3166-1 code of three "
                    "letters that codecarbon has electricity data for, such as FRA or USA"
                )
            try:
                from codecarbon.core.resource_tracker import ResourceTracker

                with self._tracker() as tracker:
                    hardware = tracker.get_detected_hardware()
                    # The tracker does not expose its sources of power; this helper does.
                    sources = ResourceTracker(tracker)
                    sources.set_CPU_GPU_ram_tracking()
                self.parts = parts(sources.cpu_tracker, sources.gpu_tracker, hardware)
            except Exception as error:  # any driver may fail in its own way
                raise InputError(f"energy: codecarbon cannot measure here: {error}") from error

    @contextmanager
    def measure(self) -> Iterator[dict[str, Any]]:
        """Measure the energy of a `with` block; the record is filled in when the block ends.

        Yields
        ------
        dict
            ``kwh`` and ``kg_co2e``, None if codecarbon failed; ``kind``, see `kind`; ``scope``,
            what was measured; ``seconds``; for each part its ``kwh`` and source; ``country`` and
            ``g_co2e_per_kwh``; ``codecarbon``, its version; ``warnings``.
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

        # Some meters work through files that codecarbon writes.
        with TemporaryDirectory(prefix="clinadapt-") as folder:
            yield OfflineEmissionsTracker(
                country_iso_code=self.country, output_dir=folder, **SETTINGS
            )

    def _record(self, emissions: Any) -> dict[str, Any]:
        about = {"kind": kind(self.parts), "scope": "machine", "country": self.country}
        if emissions is None:
            return {"kwh": None, "kg_co2e": None, **about, **self.parts}
        kwh = {
            "cpu": emissions.cpu_energy,
            "memory": emissions.ram_energy,
            "gpu": emissions.gpu_energy,
        }
        total = emissions.energy_consumed
        grams = 1000 * emissions.emissions / total if total else None
        return {
            "kwh": total,
            "kg_co2e": emissions.emissions,
            **about,
            "g_co2e_per_kwh": None if grams is None else round(grams, 3),
            **{name: {"kwh": kwh[name], **part} for name, part in self.parts.items()},
            "codecarbon": emissions.codecarbon_version,
        }


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """Collect codecarbon's warnings instead of printing them."""
    warnings: list[str] = []

    def collect(record: logging.LogRecord) -> bool:
        text = " ".join(record.getMessage().split())
        if record.levelno >= logging.WARNING and not text.startswith(ROUTINE_WARNING):
            warnings.append(f"{text} ({record.exc_info[1]!r})" if record.exc_info else text)
        return False

    logger = logging.getLogger("codecarbon")
    logger.addFilter(collect)
    try:
        yield warnings
    finally:
        logger.removeFilter(collect)


def parts(cpu: str, gpu: str, hardware: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Describe codecarbon's source for the energy of each part of the machine.

    A source that is not known to be a meter counts as an estimate.

    Parameters
    ----------
    cpu, gpu : str
        codecarbon's names for the sources of their power.
    hardware : mapping
        Hardware that codecarbon's tracker detected.

    Returns
    -------
    dict
        See `Meter.parts`.
    """
    by = METERS.get(cpu) or MODELS.get(cpu, "an unknown source")
    described: dict[str, dict[str, Any]] = {
        "cpu": {"mode": cpu, "measured": cpu in METERS, "by": by, "model": hardware["cpu_model"]},
        "memory": {"mode": "size", "measured": False, "by": "its size"},
    }
    if cpu == "raspberry":  # its power chip reads the memory's supply too
        described["memory"] = {"mode": cpu, "measured": True, "by": by}
    if gpu in DRIVERS:
        responds = bool(hardware["gpu_count"])
        by = "the driver's counters or power readings" if responds else "zero: no card responds"
        described["gpu"] = {"mode": gpu, "measured": responds, "by": by}
    elif gpu in METERS:
        described["gpu"] = {"mode": gpu, "measured": True, "by": METERS[gpu]}
    return described


def in_words(record: Mapping[str, Any]) -> str:
    """Describe in words which parts are measured and which are estimated, and from what.

    Parameters
    ----------
    record : mapping
        Record of a run, or `Meter.parts`.
    """
    phrases = []
    for name, spelt in (("cpu", "CPU"), ("gpu", "GPU"), ("memory", "memory")):
        if name not in record:
            continue
        part = record[name]
        how = "measured by" if part["measured"] else "estimated from"
        phrases.append(f"{spelt} {how} {part['by']}")
    return "; ".join(phrases)


def kind(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return "measured", "part estimate" or "estimate" for the sum over `Meter.parts`."""
    measured = {part["measured"] for part in parts.values()}
    if False not in measured:
        return "measured"
    return "part estimate" if True in measured else "estimate"
