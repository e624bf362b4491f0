"""Settings of a real browser, and an accessibility check."""

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
    """Serious and critical violations that an accessibility check reports, with their places."""
    violations = Axe().run(page).response["violations"]
    return {
        violation["id"]: [node["target"] for node in violation["nodes"]][:3]
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    }
