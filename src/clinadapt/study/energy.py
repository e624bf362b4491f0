"""Electricity of a cell, by codecarbon, and how it is known: an extra, `clinadapt[energy]`.

Most machines have no meter that a program may read. What codecarbon reports is then an estimate;
a record says so of each part, with what codecarbon itself warned of.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from clinadapt.core.errors import InputError, MissingExtraError

COUNTERS = {
    "intel_rapl": "RAPL counters",
    "windows_emi": "the Windows energy meter",
    "intel_power_gadget": "Intel Power Gadget",
}
MODELS = {
    "cpu_load": "its load and nominal power",
    "constant": "half of its nominal power",
}
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
        Of "cpu", "memory" and, where there is one, "gpu": ``mode``, whether it is ``measured``, and
        in words ``by`` what.
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
                with self._tracker() as tracker:
                    tracker.get_detected_hardware()
                    self.parts = parts(tracker._hardware)
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


def parts(hardware: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """How the energy of each part of a machine is known to codecarbon.

    What is not known to be a meter is called an estimate.

    Parameters
    ----------
    hardware : iterable
        codecarbon's own objects, one a part.

    Returns
    -------
    dict
        See `Meter.parts`.
    """
    found: dict[str, dict[str, Any]] = {}
    for item in hardware:
        match type(item).__name__:
            case "CPU":
                mode = item._mode
                found["cpu"] = {
                    "mode": mode,
                    "measured": mode in COUNTERS,
                    "by": COUNTERS.get(mode) or MODELS.get(mode, "means unknown"),
                    "model": item._model,
                }
                if mode in MODELS:
                    found["cpu"]["nominal_watts"] = item._tdp
            case "RAM":
                found["memory"] = {"mode": "size", "measured": False, "by": "its size"}
            case "GPU":
                cards = item.devices.devices
                counted = all(card.last_energy is not None for card in cards)
                mode = ("counter" if counted else "power") if cards else "none"
                by = {
                    "counter": "the driver's energy counters",
                    "power": "the driver's power readings",
                    "none": "nothing, as no card answers",
                }[mode]
                found["gpu"] = {"mode": mode, "measured": bool(cards), "by": by}
            case "AppleSiliconChip" | "Raspberry" as kind:
                by = "powermetrics" if kind == "AppleSiliconChip" else "the board's power chip"
                name = {"CPU": "cpu", "RAM": "memory", "GPU": "gpu"}[item.chip_part]
                found[name] = {"mode": by, "measured": True, "by": by}
    return found


def in_words(record: Mapping[str, Any]) -> str:
    """Say how energy is known: what is measured, what is an estimate, and of what.

    Parameters
    ----------
    record : mapping
        Of a cell, or `Meter.parts`.
    """
    said = []
    for name, spelt in (("cpu", "CPU"), ("gpu", "GPU"), ("memory", "memory")):
        if name not in record:
            continue
        part = record[name]
        watts = f" of {part['nominal_watts']:g} W" if part.get("nominal_watts") else ""
        how = "measured by" if part["measured"] else "estimated from"
        said.append(f"{spelt} {how} {part['by']}{watts}")
    return "; ".join(said)


def kind(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return "measured", "part estimate" or "estimate": what the sum over `Meter.parts` is."""
    known = {part["measured"] for part in parts.values()}
    if False not in known:
        return "measured"
    return "part estimate" if True in known else "estimate"
