"""Files as instruments write them, made up for the tests."""

import numpy as np

DOWN = np.array([1e4, 1e3, 1e2, 1e1, 1e0, 1e-1])
MPT_HEADINGS = (
    *("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm", "|Z|/Ohm", "Phase(Z)/deg", "time/s", "<Ewe>/V", "<I>/mA", "Cs/µF"),
    *("cycle number", "(Q-Qo)/mA.h"),
)
LAYOUTS = {
    "freq/Hz": lambda p: p["f"],
    "Re(Z)/Ohm": lambda p: p["z"].real,
    "-Im(Z)/Ohm": lambda p: -p["z"].imag,
    "|Z|/Ohm": lambda p: abs(p["z"]),
    "Phase(Z)/deg": lambda p: np.degrees(np.angle(p["z"])),
    "time/s": lambda p: p["t"],
    "<Ewe>/V": lambda p: p["v"],
    "<I>/mA": lambda p: p["i"] * 1e3,
    "Cs/µF": lambda p: -1e6 / (2 * np.pi * p["f"] * p["z"].imag) if p["f"] else 0.0,
    "cycle number": lambda p: p["n"],
    "(Q-Qo)/mA.h": lambda p: p["q"] / 3.6,
}


def z_of(f, r=50.0):
    """An RC element behind 10 ohm: Im < 0 at every frequency."""
    return 10 + r / (1 + 2j * np.pi * np.asarray(f) * r * 1e-4)


def points(sweeps=2, frequency=DOWN, cycles=None):
    """Rows of a measurement of several sweeps; each has its own resistance, voltage and cycle."""
    rows = []
    for k in range(sweeps):
        for j, f in enumerate(frequency):
            rows.append(
                {
                    "f": f,
                    "z": complex(z_of(f, 50 + 10 * k)) if f else 0j,
                    "t": 100.0 * k + j,
                    "v": 3.5 + 0.1 * k + 0.001 * j,
                    "i": 0.002,
                    "q": 7.2 * (k + 1),
                    "n": (cycles or range(1, sweeps + 1))[k],
                }
            )
    return rows


def text_table(rows, headings, delimiter="\t", form="{:.7E}", heading_line=True):
    lines = [delimiter.join(headings)] if heading_line else []
    lines += [delimiter.join(form.format(LAYOUTS[heading](row)) for heading in headings) for row in rows]
    return "\n".join(lines) + "\n"


def mpt(rows, *, area="0.785", fi=10, ff=100, extra=(), headings=MPT_HEADINGS):
    head = [
        "Potentio Electrochemical Impedance Spectroscopy",
        "",
        "Technique started on : 02/04/2024 10:02:46",
        "Device : SP-300 (SN 1)",
        f"Electrode surface area : {area} cm²",
        *extra,
        f"fi                  {fi:<20.3f}",
        "unit fi             kHz                 ",
        f"ff                  {ff:<20.3f}",
        "unit ff             mHz                 ",
        "",
    ]
    count = len(head) + 3
    return (
        f"EC-Lab ASCII FILE\nNb header lines : {count}                          \n"
        + "\n".join(head)
        + "\n"
        + text_table(rows, headings)
    )
