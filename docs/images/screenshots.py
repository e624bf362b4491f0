"""Take the pictures of a report for README and documentation, and print it.

Usage, or ``make pictures``: ``.venv/bin/python docs/images/screenshots.py demo/report.html``
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
# File, width and height of the window, colours, and the part of the page that is at its top.
PICTURES = [
    (HERE / "report-light.png", 1200, 860, "light", None),
    (HERE / "report-dark.png", 1200, 860, "dark", None),
    (EXAMPLES / "leaderboard-laptop.png", 1366, 768, "light", "leaderboard"),
    (EXAMPLES / "leaderboard-dark.png", 1366, 768, "dark", "leaderboard"),
    (EXAMPLES / "leaderboard-phone.png", 390, 844, "light", "leaderboard"),
    (EXAMPLES / "verdict-phone.png", 390, 844, "light", None),
]


def main(report: str) -> None:
    """Write the pictures, and ``report.pdf`` beside those of the example."""
    address = Path(report).resolve().as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for file, width, height, scheme, part in PICTURES:
            take(browser, address, file, width, height, scheme, part)
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector(".chart svg")
        page.pdf(path=EXAMPLES / "report.pdf", format="A4", prefer_css_page_size=True)
        browser.close()


def take(
    browser: Browser,
    address: str,
    file: Path,
    width: int,
    height: int,
    scheme: str,
    part: str | None,
) -> None:
    """Take one picture, of the page's beginning or of one of its parts."""
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB"
    )
    page.goto(address)
    page.wait_for_selector(".chart svg")
    if part:
        there = "part => document.getElementById(part).scrollIntoView({behavior: 'instant'})"
        page.evaluate(there, part)
    page.screenshot(path=file)
    page.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
