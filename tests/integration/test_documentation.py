"""What the documentation says is so: examples run, names exist, files are found."""

import doctest
import re
import subprocess
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import torch
from documented import shown_commands, unknown_options

import clinadapt
from clinadapt.deployment.server import middleware
from clinadapt.deployment.server.limits import Limits
from clinadapt.deployment.server.problem_details import Code
from clinadapt.deployment.server.prometheus import Metrics
from clinadapt.features.encoders.catalog import CATALOG
from clinadapt.models.registry import BUILT_IN
from clinadapt.neural.adapters.registry import ADAPTERS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_public_names_exist():
    for name in clinadapt.__all__:
        assert getattr(clinadapt, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = clinadapt.nothing


@pytest.mark.parametrize("name", clinadapt.__all__)
def test_every_public_name_has_an_example_that_runs(name):
    public = getattr(clinadapt, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(public, name)
    assert example.examples, name
    assert doctest.DocTestRunner().run(example).failed == 0


@each_page
def test_links_to_files_are_not_broken(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@each_page
def test_commands_and_their_options_exist(page):
    for words in shown_commands(page.read_text(encoding="utf-8")):
        assert unknown_options(words) == [], " ".join(words)


def test_tests_that_claims_rest_on_exist():
    text = (ROOT / "docs" / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+/test_\w+\.py)::(test_\w+)`", text)
    assert len(named) > 30
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), name


def test_readme_names_every_model_and_adapter():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in [*BUILT_IN, *ADAPTERS, "lora", "dora", "ia3"]:
        assert f"`{name}`" in text, name


def test_pictures_of_the_readme_are_there_and_small():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r'src(?:set)?="([^"]+)"', text)
    assert len(pictures) == 2
    for picture in pictures:
        assert (ROOT / picture).stat().st_size <= 200_000, picture


def test_encoders_page_names_every_encoder():
    text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    for entry in CATALOG.values():
        assert f"`{entry.name}`" in text


def test_python_example_of_the_readme_runs(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})


def test_adapter_of_the_page_on_adapters_keeps_the_contract():
    text = (ROOT / "docs" / "how-to" / "adapter.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    exec(compile(textwrap.dedent(example), "adapter.md", "exec"), names)
    hidden = torch.randn(2, 3, 8)
    features = names["Scaling"](8)(hidden, torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(features, hidden)  # it starts as the identity


@each_page
def test_scripts_can_be_parsed(page):
    for script in re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def test_serving_page_names_every_path_refusal_limit_and_count():
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    paths = [path for path in middleware.KNOWN if not path.startswith("/page/")]
    options = {"--" + field.name.replace("_", "-") for field in fields(Limits)}
    fixed = {"--explained-notes", "--read-seconds"}
    counts = [family.name for family in Metrics([]).registry.collect()]
    for name in [*paths, *get_args(Code), *(options - fixed), *counts]:
        assert name in text, name
