"""Column headings: which quantity, unit and sign the spelling of one stands for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["AREA_UNIT", "QUANTITIES", "SQUARE_CENTIMETRES", "Meaning", "meaning_of", "without_number"]

QUANTITIES = {
    "frequency": "frequency",
    "re": "resistance",
    "im": "resistance",
    "modulus": "resistance",
    "phase": "angle",
    "time": "time",
    "cycle": "",
    "z_cycle": "",
    "sequence": "",
    "voltage": "voltage",
    "current": "current",
    "charge": "charge",
    "specific_capacity": "specific charge",
    "temperature": "temperature",
}
"""Quantities that a column can hold, and their dimensions."""

_SPELLINGS = {  # in English, then German, French, Chinese and Japanese as instruments export them
    "frequency": (
        *("f", "freq", "frequency", "omega", "ω", "angularfrequency"),
        *("frequenz", "kreisfrequenz", "fréquence", "frequence", "pulsation", "频率", "頻率", "周波数"),
    ),
    "re": (
        *("re", "rez", "zre", "real", "realz", "zreal", "z'", "z'a", "rez1", "zr", "resistance", "zrl", "zs'", "rezs"),
        *("realpart", "zrealpart", "impedancereal", "realimpedance", "impedancerealpart", "realpartofimpedance"),
        *("realteil", "realteilz", "zrealteil", "impedanzrealteil", "wirkwiderstand", "resistanz"),
        *("partieréelle", "partiereelle", "réel", "zréel", "zreel", "résistance"),
        *(
            "实部",
            "實部",
            "阻抗实部",
            "阻抗實部",
            "z实部",
            "実部",
            "実数部",
            "インピーダンス実部",
            "抵抗",
            "レジスタンス",
        ),
    ),
    "im": (
        *("im", "imz", "zim", "imag", "imagz", "zimag", "zimg", "z''", "z''b", "imaginary", "zimaginary", "zi", "zs''"),
        *("imzs", "imagpart", "imaginarypart", "impedanceimaginary", "impedanceimag", "imaginaryimpedance"),
        *("impedanceimaginarypart", "imaginarypartofimpedance", "reactance"),
        *("imaginärteil", "imaginaerteil", "imaginärteilz", "zimaginärteil", "impedanzimaginärteil", "imagteil"),
        *("blindwiderstand", "reaktanz", "partieimaginaire", "imaginaire", "zimaginaire", "réactance"),
        *("虚部", "虛部", "阻抗虚部", "阻抗虛部", "z虚部", "虚数部", "インピーダンス虚部", "リアクタンス"),
    ),
    "modulus": (
        *("|z|", "z", "zmod", "modz", "modulus", "zabs", "absz", "abs", "zmag", "magz", "magnitude", "impedance"),
        *("|zs|", "zmagnitude", "impedancemagnitude", "impedancemodulus", "|impedance|", "absoluteimpedance"),
        *("betrag", "betragz", "zbetrag", "impedanz", "impedanzbetrag", "scheinwiderstand"),
        *("module", "modulez", "modulede|z|", "moduledez", "impédance"),
        *("阻抗", "阻抗模", "阻抗模值", "模值", "阻抗幅值", "インピーダンス", "絶対値"),
    ),
    "phase": (
        *("phase", "phasez", "zphase", "zphz", "theta", "thetaz", "phaseangle", "argz", "zarg", "phi", "phiz"),
        *("impedancephase", "phaseofimpedance", "impedancephaseangle", "zphaseangle"),
        *("impedancephasedegrees", "phasedegrees", "zphasedegrees"),
        *("phasenwinkel", "phasenverschiebung", "winkel", "déphasage", "dephasage", "angledephase"),
        *("相位", "相位角", "相角", "位相", "位相角", "位相差"),
    ),
    "time": (
        *("t", "time", "elapsedtime", "timestamp", "testtime", "zeit", "testzeit", "temps"),
        *("时间", "時間", "测试时间", "経過時間"),
    ),
    "cycle": (
        *("cycle", "cyclenumber", "cycleindex", "cycleno", "cyclenum"),
        *("zyklus", "zyklusnummer", "zykluszahl", "zyklusnr", "numérodecycle", "numerodecycle"),
        *("循环", "循环数", "循环号", "循环序号", "サイクル", "サイクル数", "サイクル番号"),
    ),
    "z_cycle": ("zcycle",),
    "sequence": ("ns",),
    "voltage": (
        *("<ewe>", "ewe", "voltage", "potential", "vdc", "edc", "e", "u", "v", "dcpotential", "dcvoltage"),
        *("cellvoltage", "spannung", "zellspannung", "tension", "potentiel", "电压", "電壓", "电位", "電圧", "電位"),
    ),
    "current": (*("<i>", "i", "current", "idc", "dccurrent", "strom", "courant", "电流", "電流"),),
    "charge": (
        *("q-qo", "q", "charge", "capacity", "dischargecapacity", "chargecapacity"),
        *("ladung", "kapazität", "capacité", "容量", "电量", "電気量"),
    ),
    "specific_capacity": (
        *("specificcapacity", "capacity", "dischargecapacity", "chargecapacity", "speccapacity", "q"),
        *("spezifischekapazität", "kapazität", "capacité", "capacitéspécifique", "比容量", "容量"),
    ),
    "temperature": ("t", "temp", "temperature", "temperatur", "température", "温度", "溫度"),
}
_SYMBOLS = ("z''", "z'", "|z|")
_CAPACITIES = frozenset(_SPELLINGS["charge"]) & frozenset(_SPELLINGS["specific_capacity"]) - {"q"}
_ANGULAR = frozenset({"omega", "ω", "angularfrequency", "kreisfrequenz", "pulsation"})
_NAMES: dict[str, list[str]] = {}
for _quantity, _names in _SPELLINGS.items():
    for _name in _names:
        _NAMES.setdefault(_name, []).append(_quantity)

_PREFIXES = {"": 1.0, "G": 1e9, "M": 1e6, "k": 1e3, "K": 1e3, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9, "p": 1e-12}
_PREFIXED = {
    "frequency": {"Hz": 1.0},
    "resistance": {"Ohm": 1.0, "ohms": 1.0, "Ω": 1.0, "欧姆": 1.0, "欧": 1.0, "オーム": 1.0},
    "voltage": {"V": 1.0, "volt": 1.0, "volts": 1.0},
    "current": {"A": 1.0, "amp": 1.0, "amps": 1.0, "ampere": 1.0},
    "charge": {"C": 1.0, "Ah": 3600.0, "A.h": 3600.0, "A·h": 3600.0, "A*h": 3600.0, "As": 1.0, "A.s": 1.0},
    "specific charge": {  # in mAh/g
        **dict.fromkeys(("Ah/g", "Ahg-1", "Ahg^-1", "Ahg⁻¹", "A.h/g", "A·h/g"), 1e3),
        **dict.fromkeys(("Ah/kg", "Ahkg-1", "Ahkg^-1"), 1.0),
    },
}
_PLAIN: dict[str, dict[str, tuple[float, float]]] = {
    "frequency": {"rad/s": (0.5 / np.pi, 0.0), "1/s": (1.0, 0.0), "s-1": (1.0, 0.0)},
    "angle": {
        **dict.fromkeys(
            ("", "deg", "degs", "degree", "degrees", "°", "º", "grad", "degré", "degrés", "度", "'"),
            (np.pi / 180, 0.0),
        ),
        **dict.fromkeys(("rad", "radian", "radians"), (1.0, 0.0)),
        "mrad": (1e-3, 0.0),
    },
    "time": {
        **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds", "sek", "sekunden", "secondes", "秒"), (1.0, 0.0)),
        **dict.fromkeys(("min", "mins", "minute", "minutes"), (60.0, 0.0)),
        **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "stunden", "heures", "小时", "時間"), (3600.0, 0.0)),
        **dict.fromkeys(("d", "day", "days"), (86400.0, 0.0)),
        "ms": (1e-3, 0.0),
    },
    "temperature": {
        **dict.fromkeys(("", "c", "°c", "ºc", "℃", "degc", "deg.c", "deg c", "celsius", "'c"), (1.0, 0.0)),
        **dict.fromkeys(("k", "kelvin"), (1.0, -273.15)),
    },
    "": {"": (1.0, 0.0), "#": (1.0, 0.0)},
}
AREA_UNIT = re.compile(r"(.{0,20}?(?:ohms?|[\u2126\u03a9]))[ .·*x×⋅-]?([cm]?m)(?:2|²|\^2|\^\{2\})", re.IGNORECASE)
"""A resistance times an area, and the units of the resistance and of the length."""

SQUARE_CENTIMETRES = {"cm": 1.0, "m": 1e4, "mm": 1e-2}
"""Areas in cm², by the unit of the length in small letters."""

_NUMBERED = re.compile(r"[ ._-]?(?:\(\d{1,4}\)|\d{1,4})$")
_LOOK_ALIKES = str.maketrans(
    {"′": "'", "’": "'", "‘": "'", "´": "'", "`": "'", "″": "''", "”": "''", "“": "''", '"': "''"}
    | {chr(0xFF01 + i): chr(0x21 + i) for i in range(94)}  # full width, as in Chinese and Japanese
    | {"−": "-", "–": "-", "‐": "-", "μ": "µ", "Ω": "Ω", "\xa0": " ", "\ufeff": ""}
)


@dataclass(frozen=True)
class Meaning:
    """What a heading stands for.

    Parameters
    ----------
    quantity : str
        One of `QUANTITIES`.
    factor, offset : float
        The SI value (angles: radian, temperatures: °C) is factor · cell + offset. A negative factor is a heading with
        a minus sign, as ``-Im(Z)/Ohm``.
    rank : int
        Among columns of one quantity that of the least rank is meant: ``<Ewe>/V`` before ``Ewe/V``.
    assumed : bool
        Whether the heading states no unit where there are two usual ones, as of a phase or a temperature.
    per_area : bool
        Whether the unit is one of resistance times area, ohm cm².
    """

    quantity: str
    factor: float = 1.0
    offset: float = 0.0
    rank: int = 0
    assumed: bool = False
    per_area: bool = False


def meaning_of(heading: str) -> Meaning | str | None:
    """Return what a heading stands for.

    Parameters
    ----------
    heading : str
        As the file has it, for example ``"-Im(Z)/Ohm"``, ``"Zre (ohms)"``, ``"<I>/mA"``, ``"(Q-Qo)/mA.h"``.

    Returns
    -------
    Meaning, str or None
        None for a heading that is not known; the unit, if the quantity is known and the unit is not.
    """
    text = re.sub(r"^\s*data:\s*", "", heading.translate(_LOOK_ALIKES).strip(), flags=re.IGNORECASE)
    minus = re.match(r"(?:-|minus\b|neg(?:ative)?\b[.]?)\s*", text, flags=re.IGNORECASE)
    inner = None if minus else re.search(r"(?<=\s)-(?=z'')", text, flags=re.IGNORECASE)  # Imaginärteil -Z''
    text = text[minus.end() :] if minus else text[: inner.start()] + text[inner.end() :] if inner else text
    unknown: str | None = None
    for name, unit in _readings(text):
        for quantity in _quantities(_squashed(name)):
            area = AREA_UNIT.fullmatch(unit) if QUANTITIES[quantity] == "resistance" else None
            scale = _scale(area[1].strip() if area else unit, quantity, name.strip())
            if scale is not None:
                sign = (-1.0 if minus or inner else 1.0) * (SQUARE_CENTIMETRES[area[2].lower()] if area else 1.0)
                assumed = quantity in ("phase", "temperature") and not unit
                rank = _rank(quantity, name)
                return Meaning(quantity, sign * scale[0], sign * scale[1], rank, assumed, area is not None)
            if QUANTITIES[quantity] in ("frequency", "resistance", "angle"):
                unknown = unknown or unit
    return unknown


def without_number(heading: str) -> str:
    """Return a heading without a number at its end, as ``"Re 2"``, if it means something then and did not before."""
    short = _NUMBERED.sub("", heading)
    return short if meaning_of(heading) is None and isinstance(meaning_of(short), Meaning) else heading


def _quantities(name: str) -> Sequence[str]:
    """Return what a name without blanks may stand for, as ``realteil``, or ``realteilz'`` if word and symbol agree."""
    if name in _NAMES:
        return _NAMES[name]
    for symbol in _SYMBOLS:
        for word in (name.removesuffix(symbol), name.removeprefix(symbol)):
            if word != name:
                return [quantity for quantity in _NAMES.get(word, ()) if quantity in _NAMES[symbol]]
    return ()


def _rank(quantity: str, name: str) -> int:
    if quantity in ("voltage", "current"):
        return int("<" not in name)
    return int(quantity == "charge" and not _squashed(name).startswith("q"))


def _readings(text: str) -> list[tuple[str, str]]:
    """Return the ways to take a heading apart into name and unit, the likeliest first."""
    readings = [(text, "")]
    patterns = (  # each begins where a run of blanks does, and gives nothing back: time grows with the length alone
        r"(.*?)(?<!\s)\s*+[(\[]([^()\[\]]*+)[)\]]",
        r"(.*?)(?<!\s)\s*+/\s*+(rad/s|1/s|[^/]*+(?:/k?g)?)",
        r"(.*?)(?<!\s)\s*+,\s*+([\s\S]*)",
        r"(.*?)(?<![\s_])[\s_]++(\S++)",
    )
    for pattern in patterns:
        match = re.fullmatch(pattern, text.strip())
        if match:
            readings.append((match[1], match[2].strip().removeprefix("[").removesuffix("]").strip()))
    return readings


def _squashed(name: str) -> str:
    return re.sub(r"[\s_.:()\[\]]+", "", name).lower()


def _scale(unit: str, quantity: str, name: str) -> tuple[float, float] | None:
    dimension = QUANTITIES[quantity]
    if quantity == "frequency" and _squashed(name) in _ANGULAR:
        return (0.5 / np.pi, 0.0) if unit.lower() in ("", "rad/s", "rad/sec", "1/s", "s-1") else None
    if name in ("t", "T") and not unit:  # a bare T is a temperature as often as a time
        return (1.0, 0.0) if name == "t" and quantity == "time" else None
    if not unit and (quantity == "specific_capacity" or _squashed(name) in _CAPACITIES):
        return None  # mAh as often as mAh/g
    plain = _PLAIN.get(dimension, {})
    if unit.lower() in plain:
        return plain[unit.lower()]
    if not unit and dimension in _PREFIXED:
        return 1.0, 0.0
    if dimension == "specific charge":
        unit = unit.replace(" ", "")
    return _prefixed(unit, _PREFIXED.get(dimension, {}))


def _prefixed(unit: str, bases: dict[str, float]) -> tuple[float, float] | None:
    """Return the factor of a unit with a decimal prefix; none for ``mhz``, which is milli as well as mega."""
    for base, factor in bases.items():
        if not unit.lower().endswith(base.lower()):
            continue
        prefix, written = unit[: len(unit) - len(base)], unit[len(unit) - len(base) :]
        if prefix in ("m", "M") and base == "Hz" and written != "Hz":
            return None
        if prefix == "M" and written == base.upper() and len(base) > 2:
            return None
        if prefix in _PREFIXES:
            return _PREFIXES[prefix] * factor, 0.0
    return None
