"""The page of a real server in a real browser: prediction, highlights, languages, requests."""

import pytest
from browsers import LAPTOP, PHONE, serious
from fitted_models import TEXTS
from playwright.sync_api import expect
from served import TASK, Echo, running

from clinadapt import load
from clinadapt.deployment.server.api_tokens import ApiTokens
from clinadapt.deployment.server.app import make_app
from clinadapt.explain.explain import explain

NOTE = TEXTS[1]


@pytest.fixture
def open_page(browser):
    """Return a function that opens a page and records its requests and console messages."""
    opened = []

    def open_it(url, viewport=LAPTOP, locale="en-GB", scheme="light"):
        page = browser.new_page(viewport=viewport, locale=locale, color_scheme=scheme)
        opened.append(page)
        page.requests, page.messages = [], []
        page.on("request", lambda sent: page.requests.append(sent.url))
        page.on("console", lambda line: page.messages.append(line.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        page.goto(url)
        return page

    yield open_it
    for page in opened:
        page.close()


def ask(page, note=NOTE, button="Classify"):
    page.get_by_label("Note", exact=True).fill(note)
    page.get_by_role("button", name=button, exact=True).click()
    page.locator("#result").wait_for()


def test_predicts_and_marks_the_words(open_page, server_url, served_bundles):
    page = open_page(server_url)
    page.locator("#task option").first.wait_for(state="attached")
    assert page.locator("#empty").is_visible()
    note = f"🩺 {NOTE}"  # a character of two UTF-16 units must not move the marks
    ask(page, note)
    alone = load(served_bundles["failure"])
    ((_, chance),) = alone.predict_proba([note])
    result = page.locator("#result").inner_text()
    assert f"Predicted: {alone.predict([note])[0]}" in result
    assert page.locator("#bars .value").inner_text() == f"{chance:.3f}"
    assert page.locator("#bars .limit").inner_text() == f"threshold {alone.threshold_.value:.3f}"
    assert "Calibration was not measured" in result  # this bundle has no test notes
    (explained,) = explain(alone, [note])
    assert not page.locator("#empty").is_visible()
    assert page.locator("#marked").inner_text() == note
    words = {note[word.start : word.end] for word in explained.words if word.contribution}
    marks = page.locator("#marked mark")
    assert marks.count() > 0
    for mark in marks.all():
        assert mark.inner_text() in words
    strongest = explained.strongest(1)[0]
    heavy = page.locator("#marked mark.heavy").all_inner_texts()
    assert note[strongest.start : strongest.end] in heavy
    width = page.locator(".meter i").evaluate("e => e.offsetWidth / e.parentElement.clientWidth")
    assert width == pytest.approx(chance, abs=0.02)
    assert all(url.startswith(server_url) or url == "data:," for url in page.requests)
    assert page.messages == []


def test_switches_task_and_language(open_page, server_url, served_bundles):
    page = open_page(server_url, locale="fr-FR")
    assert page.evaluate("document.documentElement.lang") == "fr"
    page.get_by_label("Tâche").select_option("failure")
    ask(page, button="Classer")
    before = page.locator("#version").inner_text()
    assert "Prédiction\u00a0: " in page.locator("#prediction").inner_text()
    page.get_by_label("Tâche").select_option("findings")
    page.wait_for_function(
        "before => document.querySelector('#version').innerText !== before", arg=before
    )
    labels = [str(label) for label in load(served_bundles["findings"]).classes_]
    assert page.locator("#bars dt").all_inner_texts() == labels
    requests = len(page.requests)
    page.get_by_role("button", name="English").press("Enter")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert "A label is predicted from" in page.locator("#rule").inner_text()
    assert page.get_by_role("button", name="English").get_attribute("aria-pressed") == "true"
    assert len(page.requests) == requests  # the answer is not requested again
    assert page.messages == []


def test_a_note_is_text_and_never_markup(open_page, server_url):
    page = open_page(server_url)
    page.locator("#task option").first.wait_for(state="attached")
    hostile = "<img src=x onerror=document.title='no'> fievre <b>oedeme</b>"
    ask(page, hostile)
    assert page.locator("#marked").inner_text() == hostile
    assert page.locator("#marked img, #marked b").count() == 0
    assert page.title() == "clinadapt – Classify a note"
    page.get_by_label("Note", exact=True).fill("   ")
    page.get_by_role("button", name="Classify").click()
    page.locator("#status.problem").wait_for()
    assert "The note is empty" in page.locator("#status").inner_text()
    assert not page.locator("#result").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_an_accessibility_check_finds_nothing_serious(open_page, server_url, viewport, scheme):
    page = open_page(server_url, viewport=viewport, scheme=scheme)
    page.locator("#task option").first.wait_for(state="attached")
    ask(page)
    expect(page.locator("#bars")).to_be_in_viewport()  # on a phone it is below the form
    page.evaluate("document.querySelector('#token-field').hidden = false")
    assert serious(page) == {}
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_by_keyboard_alone_and_with_a_token(open_page):
    tokens = ApiTokens([])
    secret = tokens.add("ward", 1)

    class Calibrated(Echo):
        tasks = [TASK.model_copy(update={"calibration_error": 0.031})]  # noqa: RUF012

    with running(make_app(Calibrated(), tokens=tokens)) as url:
        page = open_page(url)
        page.get_by_label("Token").wait_for()
        assert page.locator("#status").inner_text() == ""
        page.get_by_label("Token").focus()
        page.keyboard.type("wrong")
        page.keyboard.press("Tab")
        page.locator("#status.problem").wait_for()
        assert "missing, wrong or expired" in page.locator("#status").inner_text()
        page.get_by_label("Token").fill(secret)
        page.keyboard.press("Tab")
        page.locator("#task option").first.wait_for(state="attached")
        page.get_by_label("Note", exact=True).focus()
        page.keyboard.type("abc")
        page.keyboard.press("Tab")  # the task has no explanations, so the button is next
        page.keyboard.press("Enter")
        page.locator("#result").wait_for()
        result = page.locator("#result").inner_text()
        assert "The probability of “yes” is 0.250, below the threshold of 0.500" in result
        assert "off by 3.1 percentage points on average" in result
        assert "not for patients" in result
        assert (
            page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"
        )
