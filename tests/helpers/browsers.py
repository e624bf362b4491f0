"""A real browser, and what an accessibility check finds serious."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

LAPTOP = {"width": 1280, "height": 800}


PHONE = {"width": 390, "height": 844}


QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def serious(page: Page) -> dict[str, list]:
    """What an accessibility check finds that is serious, and where."""
    violations = Axe().run(page).response["violations"]
    return {
        found["id"]: [node["target"] for node in found["nodes"]][:3]
        for found in violations
        if found["impact"] in ("serious", "critical")
    }
