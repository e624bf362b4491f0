"""Settings of the documentation site: `make docs`, offline, into `src/clinadapt/documentation`."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

project = "clinadapt"
author = "The clinadapt authors"
version = release = installed_version("clinadapt")
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "accessibility",
    "generated_pages",
    "mathml",
    "repository_links",
]
# The log is for contributors; the example reports are 4 MB.
exclude_patterns = ["LOG.md", "examples"]

# Pages are Markdown that also reads well in the repository: headings have GitHub's anchors.
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
# Tutorials are notebooks with the outputs of their last run; nothing is run here.
nb_execution_mode = "off"

# A reference is the signature with the public names, and what each setting is.
add_module_names = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# scikit-learn gives these to every estimator.
autodoc_default_options = {
    "exclude-members": "set_fit_request, set_predict_proba_request, set_score_request",
}
napoleon_google_docstring = False
napoleon_use_rtype = False
default_role = "literal"
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

# Blocks without a language are commands; quotes in options must stay as they are.
highlight_language = "none"
smartquotes = False

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"clinadapt {release}"
# Pages open from a disk too: no source beside them, and no summaries, which need a server.
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False
html_show_sphinx = False
