"""Make the pictures of the gallery again: run the code of its page, and save each figure under the name that follows.

Run it in the repository: ``python docs/gallery.py``. With names it makes only these: ``python docs/gallery.py ageing``.
"""

import re
import sys
from pathlib import Path

from PIL import Image

from drt_engine import plotting

DOCS = Path(__file__).resolve().parent
PART = re.compile(
    r"^```python\n(?P<code>.*?)^```$|^!\[[^\n]*\]\(gallery/(?P<name>[\w-]+)\.png\)$", re.MULTILINE | re.DOTALL
)
DPI = 180


def make(folder: Path, names: list[str]) -> list[Path]:
    """Run the page and write its pictures into a folder; all of them if none is named."""
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    namespace: dict[str, object] = {}
    made = []
    for part in PART.finditer(page):
        if part["code"] is not None:
            namespace.pop("figure", None)
            exec(compile(part["code"], "gallery.md", "exec"), namespace)
        elif not names or part["name"] in names:
            figure = namespace["figure"]
            path = plotting.save(figure, folder / f"{part['name']}.png", dpi=DPI, overwrite=True)
            shrink(path)
            made.append(path)
    return made


def shrink(path: Path) -> None:
    """Store a picture with a palette that keeps its rare colours, which is a third of the size and looks the same."""
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    for path in make(DOCS / "gallery", sys.argv[1:]):
        sys.stdout.write(f"{path}  {path.stat().st_size / 1000:.0f} kB\n")
