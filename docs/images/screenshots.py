"""Take the pictures of the README: the leaderboard of a report, light and dark.

Usage, after `make demo`: ``.venv/bin/python docs/images/screenshots.py demo/report.html``
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
SIZE = {"width": 1200, "height": 860}


def main(report: str) -> None:
    """Write ``report-light.png`` and ``report-dark.png`` beside this file."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            page.goto(Path(report).resolve().as_uri())
            page.wait_for_selector(".chart svg")
            page.evaluate("document.querySelector('#leaderboard').scrollIntoView()")
            page.screenshot(path=HERE / f"report-{scheme}.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
