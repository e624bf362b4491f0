"""Template environment and style shared by all HTML pages that clinadapt writes."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clinadapt.core import formatting
from clinadapt.core.language import catalogue, language
from clinadapt.core.messages import looked_up, shown

STYLE = "page.css"


@cache
def page_environment(package: str) -> Environment:
    """Return a template environment for a package's folder ``page``, with number-format filters.

    Parameters
    ----------
    package : str
        Dotted name, such as ``clinadapt.report``.

    Returns
    -------
    jinja2.Environment
        It escapes all values; an undefined name is an error. Its texts (``{% trans %}`` and
        ``_()``), numbers and messages are in the language in use when a page is made. A package
        has one, which keeps its compiled templates.
    """
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader(package, "page"), PackageLoader("clinadapt.core", "page")]
        ),
        autoescape=True,
        extensions=["jinja2.ext.i18n"],
        finalize=_in_language,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        lambda text: catalogue(language()).gettext(text),
        lambda one, many, count: catalogue(language()).ngettext(one, many, count),
        newstyle=True,
    )
    environment.globals["language"] = language
    environment.filters |= {
        "score": formatting.score,
        "seconds": formatting.seconds,
        "size": formatting.size,
        "energy": formatting.energy,
        "mass": formatting.mass,
        "parameters": formatting.parameters,
        "count": formatting.count,
        "share": formatting.share,
        "rank": formatting.rank,
        "metric": lambda name: looked_up(formatting.metric(name)),
        "points": formatting.points,
        "p": formatting.p,
        "decimals": formatting.decimals,
        "percent": formatting.percent,
        "known": looked_up,
        "basename": lambda path: Path(path).name,
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
    }
    return environment


def _in_language(value: Any) -> Any:
    return shown(value) if isinstance(value, str) else value


def source(environment: Environment, *names: str) -> Markup:
    """Return the concatenated source of files of the template folders, unescaped."""
    assert environment.loader is not None
    loader = environment.loader
    return Markup("\n".join(loader.get_source(environment, name)[0] for name in names))
