"""Draw the screen of a watch for its page: ``python docs/watch.py``.

A simulated cell is measured into a folder, sweep by sweep, and followed as ``drt-engine watch`` does.
"""

import io
import re
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from drt_engine import simulate
from drt_engine.cli import dashboard
from drt_engine.watch import Options, Watch

OUT = Path(__file__).resolve().parent / "static" / "watch.svg"
FREQUENCY = np.logspace(5, 0.7, 40)
SWEEPS = 16


def sweep(number: int) -> str:
    """Write a table of a cell whose slower process grows from sweep to sweep."""
    grown = 20.0 * (1.0 + 0.03 * number)
    cell = simulate.Resistor(8.0) + simulate.ZARC(12.0, 2e-5, 0.9) + simulate.ZARC(grown, 5e-3, 0.85)
    z = simulate.ProportionalNoise(0.002).add(cell.impedance(FREQUENCY)[None], number)[0]
    rows = "\n".join(f"{f:.6g},{one.real:.6g},{-one.imag:.6g}" for f, one in zip(FREQUENCY, z, strict=True))
    return f"frequency/Hz,Z'/Ohm,-Z''/Ohm\n{rows}\n"


def draw() -> None:
    """Follow the folder, and keep the last screen."""
    screen = Console(record=True, force_terminal=True, width=112, file=io.StringIO())
    vars(dashboard)["console"] = lambda: screen
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "measurements"
        folder.mkdir()
        options = Options(settle=0.0, alerts=("r_pol > 1.2 * first",))
        watch = Watch(folder, folder.with_name("campaign.h5"), folder.with_name("campaign.drt.h5"), options)
        shown = dashboard.Dashboard(watch)
        shown.show(watch.begin())
        for number in range(SWEEPS):
            (folder / f"cell A cycle {number + 1}.csv").write_text(sweep(number))
            watch.look(None)
            while watch.taken <= number:
                time.sleep(min(watch.wait(), 0.05))
                shown.show(watch.step())
        # One to which points may still come.
        (folder / f"cell A cycle {SWEEPS + 1}.csv").write_text("".join(sweep(SWEEPS).splitlines(keepends=True)[:-9]))
        watch.look(None)
        shown.show(watch.step())
        shown.idle()
        watch.folder, watch.campaign = Path("measurements"), Path("campaign.h5")  # without where they stand
        screen.print(shown._drawn())
    svg = screen.export_svg(title="drt-engine watch measurements -o campaign.h5")
    # The fonts would be fetched from elsewhere.
    OUT.write_text(re.sub(r"@font-face\s*\{[^}]*\}", "", svg))


if __name__ == "__main__":
    draw()
