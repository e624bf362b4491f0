"""Reports of real studies in a real browser: they open from disk, need no network, and work."""

import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from browsers import LAPTOP, PHONE, serious
from playwright.sync_api import Browser, Page

from clinadapt.core.language import catalogue
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.deployment.drift.drift_report import write_drift
from clinadapt.explain.explanation_files import explain_table, write_mistakes
from clinadapt.report.page import page as report_page
from clinadapt.study.read_results import load

PAPER = 680  # pixels between the margins of A4


@pytest.fixture(params=[LAPTOP, PHONE], ids=["laptop", "phone"])
def opened(browser: Browser, finished_study: Path, request: Any) -> Iterator[tuple[Page, dict]]:
    """The report's page, its requests and its console messages."""
    page = browser.new_page(viewport=request.param)
    seen: dict[str, list[str]] = {"requests": [], "console": []}
    page.on("request", lambda sent: seen["requests"].append(sent.url))
    page.on("console", lambda line: seen["console"].append(f"{line.type}: {line.text}"))
    page.on("pageerror", lambda error: seen["console"].append(str(error)))
    page.goto(f"file://{finished_study / 'report.html'}")
    page.wait_for_selector(".chart svg")
    yield page, seen
    page.close()


def test_opens_from_disk_without_network(opened, finished_study):
    page, seen = opened
    for chart in page.locator(".chart:visible").all():  # drawn one by one, when there is time
        chart.locator("svg.main-svg").first.wait_for()
    assert "Synthetic notes" in page.inner_text("body")
    beyond = [url for url in seen["requests"] if not url.startswith(("file://", "blob:", "data:"))]
    assert beyond == []
    assert [url for url in seen["requests"] if url.startswith("file://")] == [
        f"file://{finished_study / 'report.html'}"
    ]
    assert seen["console"] == []


def test_nothing_is_wider_than_the_page(opened):
    page, _ = opened
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_sorting_by_keyboard(opened, finished_study):
    page, _ = opened
    table = page.locator("table.sortable").first
    heading = table.get_by_role("columnheader", name="Test", exact=False).first
    expected = pl.read_csv(finished_study / "leaderboard.csv").filter(pl.col("status") == "done")
    column = heading.evaluate("heading => heading.cellIndex")
    read = (
        "(rows, column) => rows.map(row => row.cells[column])"
        ".map(cell => +(cell.dataset.value ?? cell.textContent))"
    )
    for order, descending in (("ascending", False), ("descending", True)):
        heading.get_by_role("button").press("Enter")
        assert heading.get_attribute("aria-sort") == order
        shown = table.locator("tbody tr").evaluate_all(read, column)
        assert shown == sorted(shown, reverse=descending)
        assert shown[0] == pytest.approx(
            expected["test"].max() if descending else expected["test"].min(), abs=1e-3
        )


def test_seven_columns_and_more(opened):
    page, _ = opened
    headings = page.locator("#rows thead th")
    shown = lambda: [h for h in headings.all() if h.is_visible()]  # noqa: E731
    assert len(shown()) == 7
    button = page.get_by_role("button", name="More columns")
    assert button.get_attribute("aria-expanded") == "false"
    button.press("Enter")
    assert len(shown()) == headings.count() > 7
    page.get_by_role("button", name="Fewer columns").press("Enter")
    assert len(shown()) == 7
    test = headings.filter(has_text="Test").first.bounding_box()
    assert test["x"] + test["width"] <= page.viewport_size["width"]  # on a phone, too


def test_the_menu_stays_and_marks_the_section(opened):
    page, _ = opened
    menu = page.get_by_role("navigation")
    menu.get_by_role("link", name="All metrics").click()
    page.wait_for_selector('nav a[aria-current][href="#metrics"]')
    heading = page.locator("#metrics h2").bounding_box()
    nav = menu.bounding_box()
    assert nav["y"] == pytest.approx(0, abs=1)
    assert heading["y"] >= nav["y"] + nav["height"]


def test_what_prints_at_once_prints_every_chart(browser, finished_study):
    page = browser.new_page(viewport={"width": PAPER, "height": 900})
    page.emulate_media(media="print")
    page.add_init_script("window.requestIdleCallback = () => {}")  # no chart before printing
    page.goto(f"file://{finished_study / 'report.html'}")  # until it has loaded
    assert page.locator(".chart svg.main-svg").count() == 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    visible = page.locator(".chart:visible")
    assert visible.count() > 3
    for chart in visible.all():
        assert chart.locator("svg.main-svg").count() > 0
        box = chart.locator("svg.main-svg").first.bounding_box()
        assert box["width"] == 640
        assert box["x"] + box["width"] <= PAPER  # nothing is cut off, or beside another
    page.close()


def test_filtering(opened):
    page, _ = opened
    field = page.locator("[data-filters]").first
    rows = page.locator(f"#{field.get_attribute('data-filters')} tbody tr")
    everything = rows.count()
    field.fill("frozen bottleneck")
    shown = [row.inner_text() for row in rows.all() if row.is_visible()]
    assert len(shown) == 1
    assert "bottleneck" in shown[0]
    field.fill("")
    assert sum(row.is_visible() for row in rows.all()) == everything


def test_another_cost_draws_another_chart(opened):
    page, _ = opened
    selector = page.locator("#cost-axis")
    values = selector.locator("option").evaluate_all("options => options.map(o => o.value)")
    assert len(values) >= 3
    for value in values:
        selector.select_option(value)
        page.wait_for_selector(f"#{value} .chart svg")
        assert [v for v in values if page.locator(f"#{v}").is_visible()] == [value]


def test_any_two_configurations_can_be_compared(opened, finished_study):
    page, _ = opened
    evidence = json.loads((finished_study / "evidence.json").read_text())
    one, other, value, low, high = evidence["every_pair"][-1]
    for first, second, sign in ((one, other, 1), (other, one, -1)):
        page.locator("#pick-0").select_option(first)
        page.locator("#pick-1").select_option(second)
        sentence = page.locator("#picked").inner_text()
        shown = [float(n.replace("−", "-")) for n in re.findall(r"[+−]\d+\.\d", sentence)]
        bounds = sorted([sign * low, sign * high])
        assert shown == pytest.approx([100 * sign * value, *(100 * b for b in bounds)], abs=0.051)
        significant = bounds[0] > 0 or bounds[1] < 0
        assert ("not significantly" not in sentence) == significant
    page.locator("#pick-1").select_option(other)
    page.locator("#pick-0").select_option(other)
    assert "two different configurations" in page.locator("#picked").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_check_finds_nothing_serious(opened, scheme):
    page, _ = opened
    page.emulate_media(color_scheme=scheme)
    for details in page.locator("details").all():
        details.evaluate("element => element.open = true")
    assert serious(page) == {}


def english_left(text: str) -> list[str]:
    """Sentences of the catalogue that a text still has in English."""
    known = catalogue("fr")._catalog  # type: ignore[attr-defined]
    sentences = (one for one in known if isinstance(one, str) and len(one.split()) > 3)
    plain = (one for one in sentences if not re.search(r"[{<%]", one))
    return [one for one in plain if one in text]


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_a_french_browser_opens_the_report_in_french(browser, study_of_sites, viewport):
    context = browser.new_context(locale="fr-FR", viewport=viewport)
    page, messages = context.new_page(), []
    page.on("console", lambda line: messages.append(line.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(f"file://{study_of_sites / 'out' / 'report.html'}")
    page.wait_for_selector(".chart svg")
    assert page.evaluate("[document.documentElement.lang, document.title]") == [
        "fr",
        page.locator("h1").inner_text() + " – rapport d’étude",
    ]
    text = page.locator("body").inner_text()
    assert "intervalle de confiance à 95\u00a0%" in text
    assert english_left(text) == []
    assert re.search(r"0,\d{3}\n?.*\[0,\d{3}\u202f; 0,\d{3}\]", text)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert serious(page) == {}
    page.get_by_role("link", name="English").click()
    page.wait_for_selector(".chart svg")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert "95\u00a0% interval" in page.locator("body").inner_text()
    page.get_by_role("link", name="Français").click()
    page.wait_for_selector(".chart svg")
    assert page.evaluate("document.documentElement.lang") == "fr"
    assert messages == []
    context.close()


def test_a_report_opens_in_the_language_that_was_asked_for(browser, finished_study, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(report_page(load(finished_study), "fr"), encoding="utf-8")
    for scripts in (True, False):
        context = browser.new_context(locale="en-GB", java_script_enabled=scripts)
        page = context.new_page()
        page.goto(f"file://{file}")
        assert page.locator("html").get_attribute("lang") == "fr"
        assert page.locator("h2").first.is_visible()
        assert "Classement" in page.locator("main").inner_text()
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_sites_and_of_several_tasks(browser, study_of_sites, study_of_tasks, scheme):
    reports = (study_of_sites / "out" / "report.html", study_of_tasks[0] / "report.html")
    for viewport, report in product((LAPTOP, PHONE), reports):
        page = browser.new_page(viewport=viewport, color_scheme=scheme)
        asked, messages = [], []
        page.on("request", lambda sent, asked=asked: asked.append(sent.url))
        page.on("console", lambda line, messages=messages: messages.append(line.text))
        page.goto(f"file://{report}")
        beyond = [url for url in asked if not url.startswith(("blob:", "data:"))]
        assert beyond == [f"file://{report}"]
        assert messages == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert serious(page) == {}
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_words_and_of_errors(browser, study_of_sites, tmp_path, scheme):
    table, out = study_of_sites / "notes.parquet", study_of_sites / "out"
    pages = tmp_path / "words.html", tmp_path / "errors.html"
    explain_table(out / "recommended", table, pages[0], id="id", limit=5, try_faithfulness=True)
    notes = read_notes(table, Columns(id="id", group="patient"))
    write_mistakes(out, notes, pages[1], limit=5, sample=20)
    for viewport, file in product((LAPTOP, PHONE), pages):
        page = browser.new_page(viewport=viewport, color_scheme=scheme)
        asked: list[str] = []
        page.on("request", lambda sent, asked=asked: asked.append(sent.url))
        page.goto(f"file://{file}")
        assert asked == [f"file://{file}"]
        assert "contains patient text" in page.inner_text("body").lower()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert serious(page) == {}
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_drift(browser, finished_study, small_table, tmp_path, scheme):
    longer = small_table.with_columns(pl.concat_str("text", "text", separator=" ").alias("text"))
    same, other = tmp_path / "same.html", tmp_path / "other.html"
    split = json.loads((finished_study / "split.json").read_text())
    # The scores of notes that the model was fitted on differ from those of others.
    unseen = small_table.filter(pl.col("id").is_in(split["validation"] + split["test"]))
    for table, out, label in ((unseen, same, ()), (longer, other, ("label",))):
        write_drift(finished_study / "best", table, out, label=label, group="patient")
    for viewport, file in product((LAPTOP, PHONE), (same, other)):
        page = browser.new_page(viewport=viewport, color_scheme=scheme)
        asked, messages = [], []
        page.on("request", lambda sent, asked=asked: asked.append(sent.url))
        page.on("console", lambda line, messages=messages: messages.append(line.text))
        page.goto(f"file://{file}")
        assert asked == [f"file://{file}"]
        assert messages == []
        assert (page.locator("svg.bins rect").count() > 0) == (file == other)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert serious(page) == {}
        page.close()


def test_the_page_of_several_tasks_leads_to_each(browser, study_of_tasks):
    page = browser.new_page(viewport=LAPTOP)
    page.goto(f"file://{study_of_tasks[0] / 'report.html'}")
    page.get_by_role("link", name="long note").click()
    page.wait_for_selector(".chart svg")
    assert page.url == f"file://{study_of_tasks[0] / 'long-note' / 'report.html'}"
    page.close()
