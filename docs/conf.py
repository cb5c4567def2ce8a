"""Sphinx configuration."""

import re
from functools import partial
from importlib import metadata
from typing import Any

from docutils import nodes
from jinja2 import BytecodeCache
from latex2mathml.converter import convert
from numpydoc import docscrape_sphinx

project = "drt-engine"
author = "The drt-engine developers"
copyright = f"2026, {author}"
try:
    release = metadata.version("drt-engine")
except metadata.PackageNotFoundError:  # read from a folder that is only on the path
    release = ""

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
]
exclude_patterns = ["_build"]
default_role = "py:obj"

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"member-order": "bysource"}
# Docstrings say types with shapes and units; in the signatures they would hide the names.
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autosummary_generate = False
numpydoc_class_members_toctree = False
# Members are documented in full below each class, so a table of them would say everything twice.
numpydoc_show_class_members = False
# The list of references of an element may hold one that the text does not point at.
suppress_warnings = ["ref.citation"]

# Formulas are written into the pages as MathML, which browsers draw by themselves: no script, no network.
html_math_renderer = "mathml"
html_css_files = ["pages.css"]
html_static_path = ["static"]
html_theme = "furo"
html_title = f"drt-engine {release}".strip()
html_show_sphinx = False


_KEPT = r"``.*?``|:math:`[^`]*`|^(?P<indent> *)\.\. math::.*\n(?:\s*\n|(?P=indent) +.*\n)*"
_BAR = re.compile(rf"(?P<kept>{_KEPT})|\|", re.MULTILINE)
_INITIAL = re.compile(r"^( *\.\. \[\w+\] [A-Z])\.", re.MULTILINE)


def escape_docstring(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Keep what reStructuredText would take for something else.

    That is the bars of |Z|, in its eyes the name of a substitution, and the initial of an author, a numbered list.
    """
    text = _BAR.sub(lambda found: found["kept"] or r"\|", "\n".join(lines) + "\n")
    lines[:] = _INITIAL.sub(r"\1\.", text).splitlines()


def formula(translator: Any, node: Any) -> None:
    """Write a formula as MathML, inline or as a block of its own."""
    block = isinstance(node, nodes.math_block)
    written = convert(node.astext(), display="block" if block else "inline")
    translator.body.append(f'<div class="formula">{written}</div>' if block else written)
    raise nodes.SkipNode


class Compiled(BytecodeCache):
    """Compiled templates, in memory."""

    def __init__(self) -> None:
        self.codes: dict[str, Any] = {}

    def load_bytecode(self, bucket: Any) -> None:
        bucket.code = self.codes.get(bucket.key)

    def dump_bytecode(self, bucket: Any) -> None:
        self.codes[bucket.key] = bucket.code


def setup(app: Any) -> None:
    """Draw formulas, and let docstrings pass before numpydoc reads them."""
    # It makes an environment for each docstring and compiles its template anew, which is a tenth of the time.
    docscrape_sphinx.SandboxedEnvironment = partial(docscrape_sphinx.SandboxedEnvironment, bytecode_cache=Compiled())
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))
    app.connect("autodoc-process-docstring", escape_docstring, priority=100)
