"""The documentation site: it builds without a warning, opens from a disk, and answers."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browsers import LAPTOP, PHONE, serious
from documented import Page
from typer.main import get_command

import clinadapt
from clinadapt.cli.main import app

ROOT = Path(__file__).parents[2]
START = "index.html"
# What is asked, and words that the page with the answer has.
QUESTIONS = {
    "How do I use an encoder of my own?": ["--encoder /data/encoders/ours", "config.json"],
    "How do I use a GPU?": ["torch.cuda.is_available()", "CUDA_VISIBLE_DEVICES"],
    "How do I run it under SLURM?": ["#SBATCH", "srun", "sbatch"],
    "How do I run it in Docker?": ["docker build", "docker run", "--read-only"],
    "How many labelled notes do I need?": ["--study crossover", "2,536", "test patients"],
    "What is an interval?": ["0.824 [0.795, 0.850]", "Of a hundred such intervals"],
    "Which class is the positive one?": ["--positive yes", "oui"],
    "How do I choose a threshold?": ["Operating points", "--threshold 0.3"],
    "Can it read Excel?": [".xlsx", "clinadapt[excel]"],
    "How do I install it without internet?": ["pip wheel", "--no-index --find-links wheelhouse"],
    "How do I add an adapter?": ["ADAPTERS", "def forward(self, hidden"],
    "How do I cite it?": ["@software{clinadapt", "CITATION.cff"],
}


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    command += ["--doctree-dir", folder / "doctrees", ROOT / "docs", folder / "html"]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    return folder / "html"


@pytest.fixture(scope="session")
def pages(site) -> dict[Path, Page]:
    """Every page of the site, by its file."""
    return {file: Page(file) for file in site.rglob("*.html")}


def inside(file: Path, link: str) -> tuple[Path, str] | None:
    """Return file and anchor that a link leads to; None if it leaves the site."""
    address = urlsplit(link)
    if address.scheme:
        return None
    target = (file.parent / unquote(address.path)).resolve() if address.path else file
    return target, unquote(address.fragment)


def test_every_link_within_the_site_leads_somewhere(pages):
    dead = []
    for file, page in pages.items():
        for link in [*page.links, *page.loaded]:
            other, anchor = inside(file, link) or (file, "")
            if not other.is_file() or (anchor and anchor not in pages[other].anchors):
                dead.append((file.name, link))
    assert dead == []


def test_nothing_is_loaded_from_elsewhere(pages):
    for file, page in pages.items():
        assert [link for link in page.loaded if inside(file, link) is None] == [], file.name


def test_a_name_is_enough_to_open_a_page(pages):
    names = [file.stem.lower() for file in pages]
    assert len(names) == len(set(names))


def test_it_is_small_enough_to_be_packed(site):
    assert sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) < 5e6


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_within_two_clicks(question, site, pages):
    reached = {site / START}
    for _ in range(2):
        links = [(file, link) for file in reached for link in pages[file].links]
        targets = [inside(file, link) for file, link in links]
        reached |= {target[0] for target in targets if target and target[0] in pages}
    answers = [
        file.name
        for file in reached
        if all(word in pages[file].text for word in QUESTIONS[question])
    ]
    assert answers, question


def test_every_public_name_is_in_the_reference(site, pages):
    anchors = pages[site / "reference" / "python.html"].anchors
    assert [name for name in clinadapt.__all__ if f"clinadapt.{name}" not in anchors] == []


def test_every_command_is_in_the_reference_with_its_options(site, pages):
    page = pages[site / "reference" / "commands.html"]
    for name, command in get_command(app).commands.items():
        for below, one in getattr(command, "commands", {"": command}).items():
            if one.hidden:
                continue
            assert f"clinadapt-{name}{below and '-' + below}" in page.anchors
            for parameter in one.params:
                if parameter.param_type_name == "option":
                    assert parameter.opts[0] in page.text


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_everyone_can_read_it(browser, site, viewport):
    page = browser.new_page(viewport=viewport)
    for name in (START, "statistics.html", "reference/adapters.html"):
        page.goto((site / name).as_uri())
        assert serious(page) == {}, name
    page.close()


def test_opens_from_disk_and_can_be_searched(browser, site):
    page = browser.new_page(viewport=LAPTOP)
    requests, console = [], []
    page.on("request", lambda sent: requests.append(sent.url))
    page.on("console", lambda line: console.append(line.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto((site / START).as_uri())
    page.goto((site / "search.html").as_uri() + "?q=threshold")
    found = page.get_by_role("main").get_by_role("link", name="Choosing a threshold")
    found.first.click()
    assert page.title().startswith("Choosing a threshold")
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []
    assert console == []
    page.close()
