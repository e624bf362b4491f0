"""Energy of runs: codecarbon's numbers, correctly labelled, without side effects."""

import json
import logging
import re
import sys
import threading
import time

import numpy as np
import polars as pl
import pytest
from codecarbon.core import hardware_cache
from codecarbon.core.cpu import TDP
from codecarbon.core.util import count_physical_cpus
from codecarbon.external.hardware import CPU
from codecarbon.external.ram import RAM
from codecarbon.input import DataSource

from clinadapt import Study, write_report
from clinadapt.core import network_guard
from clinadapt.core.errors import InputError, MissingExtraError
from clinadapt.study.energy import Meter, in_words, kind, parts

SPARSE = {
    "name": "tiny",
    "resamples": 100,
    "configurations": [{"model": ["tfidf-logistic", "tfidf-mlp"]}],
}


@pytest.fixture(scope="module")
def meter():
    return Meter("fra")


@pytest.fixture
def attempts(monkeypatch):
    """Every attempt to reach another machine, those included whose refusal a library swallows."""
    seen, refuse = [], network_guard._refuse

    def watched(family, address):
        seen.append(address)
        refuse(family, address)

    monkeypatch.setattr(network_guard, "_refuse", watched)
    return seen


def work(seconds=0.3):
    matrix = np.ones((64, 64))
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        matrix @ matrix


def left_running():
    return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_energy_is_power_times_time(meter):
    with meter.measure() as found:
        work()
    assert found["seconds"] == pytest.approx(0.3, abs=0.1)
    watts = RAM(tracking_mode="machine").total_power().W  # constant, in codecarbon's model
    assert not found["memory"]["measured"]
    by_hand = watts * found["seconds"] / 3.6e6
    assert found["memory"]["kwh"] == pytest.approx(by_hand, rel=0.1)
    cpu = found["cpu"]
    assert 0 < cpu["kwh"] < 1
    if cpu["mode"] == "cpu_load":  # from a tenth of the nominal power to all of it
        most = TDP().tdp * count_physical_cpus() * found["seconds"] / 3.6e6
        assert 0.1 * 0.9 * most <= cpu["kwh"] <= 1.1 * most
    whole = sum(found[name]["kwh"] for name in ("cpu", "memory", "gpu") if name in found)
    assert found["kwh"] == pytest.approx(whole, rel=1e-9)
    grams = DataSource().get_global_energy_mix_data()["FRA"]["carbon_intensity"]
    assert found["g_co2e_per_kwh"] == pytest.approx(grams, abs=1e-3)
    assert found["kg_co2e"] == pytest.approx(found["kwh"] * grams / 1000, rel=1e-6)
    assert (found["country"], found["scope"]) == ("FRA", "machine")


def test_twice_the_time_is_about_twice_the_energy(meter):
    spent = []
    for seconds in (0.2, 0.4):
        with meter.measure() as found:
            work(seconds)
        spent.append(found["memory"]["kwh"])
    assert spent[1] / spent[0] == pytest.approx(2, rel=0.25)


def test_nothing_is_written_printed_or_sent(tmp_path, monkeypatch, capfd, attempts):
    """Not even where a configuration of codecarbon's own asks for it."""
    monkeypatch.chdir(tmp_path)
    asked = "save_to_file=true\nsave_to_api=true\napi_call_interval=1\npue=9\nlog_level=debug\n"
    asked += "emissions_endpoint=http://192.0.2.7\nco2_signal_api_token=x\n"
    (tmp_path / ".codecarbon.config").write_text(f"[codecarbon]\n{asked}")
    monkeypatch.setenv("CODECARBON_OUTPUT_METHODS", "csv,api,logger")
    monkeypatch.setenv("CODECARBON_FORCE_CARBON_INTENSITY_G_CO2E_KWH", "9999")
    with Meter("FRA").measure() as found:
        work(0.1)
    assert found["kwh"] > 0
    assert found["g_co2e_per_kwh"] < 1000
    assert found["memory"]["kwh"] < 3 * RAM().total_power().W * found["seconds"] / 3.6e6
    assert [path.name for path in tmp_path.iterdir()] == [".codecarbon.config"]
    shown = capfd.readouterr()
    assert shown.out == shown.err == ""
    assert attempts == []


def test_work_that_fails_stops_the_tracker(meter):
    before = logging.getLogger("codecarbon").filters[:]

    def fail():
        assert left_running()
        raise KeyError

    with pytest.raises(KeyError), meter.measure():
        fail()
    assert not [thread for thread in left_running() if not thread.finished.is_set()]
    assert logging.getLogger("codecarbon").filters == before


@pytest.mark.parametrize("country", ["FR", "France", "XXX", ""])
def test_an_unknown_country_is_refused(country):
    with pytest.raises(InputError, match="three letters") as caught:
        Meter(country)
    assert repr(country) in str(caught.value)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon.input", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clinadapt\[energy\]'"):
        Meter("FRA")


# ---------------------------------------------------------------- what is measured, what is not


HARDWARE = {"cpu_model": "a CPU", "gpu_count": 0}


@pytest.fixture
def rapl(tmp_path, monkeypatch):
    """A processor with RAPL counters, as Linux shows them."""
    domain = tmp_path / "intel-rapl:0"
    domain.mkdir()
    for name, text in {"name": "package-0", "energy_uj": "5", "max_energy_range_uj": "99"}.items():
        (domain / name).write_text(text)
    processor = CPU(str(tmp_path), "intel_rapl", "a CPU", 100, rapl_dir=str(tmp_path))
    monkeypatch.setattr("codecarbon.core.resource_tracker.is_linux_os", lambda: True)
    monkeypatch.setattr("codecarbon.core.cpu.is_rapl_available", lambda: True)
    monkeypatch.setattr(CPU, "from_utils", lambda *args, **kwargs: processor)
    hardware_cache.clear_cache()  # of this process
    yield
    hardware_cache.clear_cache()


def test_counters_that_are_there_measure(rapl):
    found = Meter("FRA").parts
    assert found["cpu"]["measured"]
    assert found["cpu"]["model"] == "a CPU"
    assert "CPU measured by RAPL counters" in in_words(found)
    assert kind({name: found[name] for name in ("cpu", "memory")}) == "part estimate"


def test_without_a_meter_the_load_is_the_source(rapl, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("codecarbon.core.cpu.is_rapl_available", lambda: False)
    hardware_cache.clear_cache()
    first, second = Meter("FRA"), Meter("FRA")  # the second finds what codecarbon remembers
    assert first.parts == second.parts
    if sys.platform == "linux" and first.parts["cpu"]["mode"] != "raspberry":
        assert "CPU estimated from its load and nominal power" in in_words(first.parts)
        assert not first.parts["cpu"]["measured"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("RAPL", "CPU measured by RAPL counters"),
        ("Windows EMI", "CPU measured by the Windows energy meter"),
        ("Power Gadget", "CPU measured by Intel Power Gadget"),
        ("cpu_load", "CPU estimated from its load and nominal power"),
        ("global constant", "CPU estimated from half of its nominal power"),
        ("a future source", "CPU estimated from an unknown source"),
    ],
)
def test_counters_measure_and_models_estimate(source, expected):
    found = parts(source, "Unspecified", HARDWARE)
    assert in_words(found) == f"{expected}; memory estimated from its size"
    assert found["cpu"]["measured"] == ("measured" in expected)
    assert kind(found) == ("part estimate" if "measured" in expected else "estimate")


def test_one_meter_may_know_several_parts():
    board = parts("raspberry", "Unspecified", HARDWARE)
    assert kind(board) == "measured"
    assert in_words(board).endswith("memory measured by the board's power chip")
    apple = parts("PowerMetrics", "PowerMetrics", HARDWARE)
    assert apple["gpu"]["measured"]
    assert kind(apple) == "part estimate"


@pytest.mark.parametrize("driver", ["pynvml", "amdsmi"])
def test_a_card_is_read_or_does_not_respond(driver):
    read = parts("RAPL", driver, {**HARDWARE, "gpu_count": 2})["gpu"]
    dumb = parts("RAPL", driver, HARDWARE)["gpu"]
    assert (read["mode"], read["measured"], dumb["measured"]) == (driver, True, False)
    assert "gpu" not in parts("RAPL", "Unspecified", HARDWARE)


# ---------------------------------------------------------------- in a study


@pytest.fixture(scope="module")
def study(small_notes_synthetic, tmp_path_factory):
    """Folder of a study with energy, one of whose configurations fails."""
    from clinadapt.models.tfidf_mlp import TfidfMLP

    def broken(self, *args, **kwargs):
        raise RuntimeError

    out = tmp_path_factory.mktemp("energy") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TfidfMLP, "fit", broken)
        Study(small_notes_synthetic, SPARSE, out, energy="FRA").run()
    return out


def test_every_run_records_its_energy_and_source(study):
    found = [json.loads(path.read_text()) for path in study.glob("cells/*/result.json")]
    assert sorted(result["status"] for result in found) == ["done", "failed"]
    assert not [thread for thread in left_running() if not thread.finished.is_set()]
    (done,) = (result for result in found if result["status"] == "done")
    energy = done["cost"]["energy"]
    assert 0 < energy["kwh"] < 0.01
    assert energy["codecarbon"].startswith("3.")
    assert energy["kind"] == kind({name: energy[name] for name in ("cpu", "memory")})
    assert energy["seconds"] == pytest.approx(done["cost"]["seconds"], abs=0.5)


def test_the_report_calls_an_estimate_an_estimate(study):
    page = write_report(study).read_text(encoding="utf-8")
    section = page.partition('<section id="energy">')[2].partition("</section>")[0]
    assert "memory estimated from its size" in section
    assert len(re.findall(r"\d k?(?:Wh|g) <small>(?:part )?estimate</small>", section)) == 2
    assert "FRA, 56 g per kWh" in section
    assert "whole machine" in section
    table = pl.read_csv(study / "tables" / "energy.csv")
    assert table["Configuration"].to_list() == ["TF-IDF + logistic regression"]
    assert "estimate" in table["Kind"][0]
    (line,) = json.loads((study / "report.json").read_text())["energy"]
    (path,) = (
        path
        for path in study.glob("cells/*/result.json")
        if json.loads(path.read_text())["status"] == "done"
    )
    assert line["kwh"] == json.loads(path.read_text())["cost"]["energy"]["kwh"]


def test_a_study_that_does_not_ask_has_none(finished_study):
    assert 'id="energy"' not in (finished_study / "report.html").read_text(encoding="utf-8")
    assert not (finished_study / "tables" / "energy.csv").exists()
    for path in finished_study.glob("cells/*/result.json"):
        assert "energy" not in json.loads(path.read_text()).get("cost", {})
