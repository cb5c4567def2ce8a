"""Draws the layers of the package from the import contract in pyproject.toml: ``python docs/architecture.py``."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- layers: made by docs/architecture.py -->\n", "<!-- end of layers -->\n"
WIDTH = 78


def picture() -> str:
    """Return the layers as boxes, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    edge = f"+{'-' * WIDTH}+"
    rows = [f"| {'   '.join(layer.split(' : ')):<{WIDTH - 2}} |" for layer in (*layers, "drt_kernels")]
    return f"{BEGIN}```text\n" + f"{edge}\n" + "".join(f"{row}\n{edge}\n" for row in rows) + f"```\n{END}"


def page() -> str:
    """Return the page with the picture as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    return text[: text.index(BEGIN)] + picture() + text[text.index(END) + len(END) :]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
