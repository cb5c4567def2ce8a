"""Text that comes from files: whether it is a number, and how it is shown where it could do harm."""

import html
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "are_numbers",
    "as_html",
    "count_of",
    "drawn",
    "for_spreadsheets",
    "is_number",
    "is_row_of_numbers",
    "storable",
    "visible",
    "without_formula",
]

# No part of a pattern can match what the next one can, so that time grows with the length alone, whatever the text.
_EXPONENT = r"(?:[eEdD][+-]?\d{1,9}+)?"
_WITH_DOT = rf"[+-]?(?:\d++(?:\.\d*+)?|\.\d++){_EXPONENT}"
_WITH_COMMA = rf"[+-]?(?:\d++(?:,\d*+)?|,\d++){_EXPONENT}"
_DOT, _COMMA = re.compile(_WITH_DOT), re.compile(_WITH_COMMA)
# Many at once, each with an end of line: a hundred thousand calls take longer than all else of reading a table.
_DOTS, _COMMAS = (re.compile(rf"(?:{one}\n)*+") for one in (_WITH_DOT, _WITH_COMMA))
_ROW = re.compile(rf"[\t;, ]*+(?:{_WITH_DOT}(?:[\t;, ]++|\Z)){{2,}}+")

# The last four are what East Asian versions of spreadsheets take for the first four.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


_PLURALS = (("spectrum", "spectra"), ("frequency", "frequencies"), ("process", "processes"))


def is_number(text: str, decimal: str | None = None) -> bool:
    """Say whether text is a decimal number, as instruments print them.

    Parameters
    ----------
    text : str
        Without blanks around it.
    decimal : {".", ","}, optional
        The decimal sign; either if not given.
    """
    if decimal is None:
        return bool(_DOT.fullmatch(text) or _COMMA.fullmatch(text))
    return bool((_COMMA if decimal == "," else _DOT).fullmatch(text))


def are_numbers(texts: Sequence[str], decimal: str) -> bool:
    """Say whether each of many texts is a number, as :func:`is_number` says of one.

    Parameters
    ----------
    texts : sequence of str
        Without blanks around them, and of one line each.
    decimal : {".", ","}
        The decimal sign.
    """
    lines = "\n".join([*texts, ""])
    return lines.count("\n") == len(texts) and bool((_COMMAS if decimal == "," else _DOTS).fullmatch(lines))


def is_row_of_numbers(line: str) -> bool:
    """Say whether a line has nothing but numbers with decimal points, at least two, with tabs, blanks, ; or , between.

    Parameters
    ----------
    line : str
        The line.
    """
    return bool(_ROW.fullmatch(line))


def count_of(number: float, one: str, many: str | None = None, *, thousands: str = "") -> str:
    """Return a number with what it counts: ``1 row``, ``2 rows``, ``1 spectrum``, ``2 spectra``.

    Parameters
    ----------
    number : float
        A whole number.
    one : str
        What there is one of, for example ``"row"`` or ``"file was"``.
    many : str, optional
        The same of several; with the plural of the last word of `one` if not given.
    thousands : {"", ","}
        What stands between thousands: ``1,000,000 spectra``.
    """
    if number == 1:
        return f"1 {one}"
    ending = next((ends for ends in _PLURALS if one.endswith(ends[0])), ("", "s"))
    return f"{number:{thousands}.0f} {many or one.removesuffix(ending[0]) + ending[1]}"


def visible(text: str) -> str:
    r"""Write characters that control a terminal, or the order of text in it, so that they are seen and do nothing.

    Escape sequences, line ends, marks of the direction of writing, invisible characters and halves of characters become
    ``\x1b``, ``\n``, ``\u202e``; all others stay as they are.

    Parameters
    ----------
    text : str
        For example the name of a cell, as a file has it.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or unicodedata.category(one) == "Zs" else _escaped(one) for one in text)


def storable(text: str) -> str:
    r"""Write text so that every file takes it: what is no Unicode becomes ``\udce9``, and a null character ``\x00``.

    Parameters
    ----------
    text : str
        For example the name of a file, which on Linux may be any bytes.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", r"\x00").replace("\u2400", r"\u2400")


def drawn(text: str) -> str:
    r"""Write text so that a figure shows it: dollar signs begin no formula, and a first underscore hides nothing.

    Parameters
    ----------
    text : str
        For example the name of a cell. Characters of control are written as :func:`visible` does.
    """
    shown = visible(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def without_formula(text: str) -> str:
    r"""Write text so that a spreadsheet shows it and computes nothing.

    An apostrophe is put before text that begins with =, +, − or @ and is not a number: spreadsheets hide it and take
    what follows for text. Characters of control are written as :func:`visible` does.

    Parameters
    ----------
    text : str
        What a cell of the table holds.
    """
    shown = visible(text)
    return f"'{shown}" if shown.startswith(_FORMULA) and not is_number(shown) else shown


def for_spreadsheets(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table in which no text is a formula to a spreadsheet, nor controls a terminal.

    Parameters
    ----------
    frame : DataFrame
        Any. Numbers stay; of text and headings, :func:`without_formula` says what is changed.
    """
    columns = {
        number: frame.iloc[:, number].map(lambda value: without_formula(value) if isinstance(value, str) else value)
        for number, dtype in enumerate(frame.dtypes)
        if dtype.kind not in "biufcmM"
    }
    out = frame.copy(deep=False)
    for number, column in columns.items():
        out.isetitem(number, column.array)
    return out.set_axis([without_formula(str(name)) for name in frame.columns], axis="columns")


def as_html(title: str, frame: "pd.DataFrame", total: int) -> str:
    """Write a table for a notebook, in which text from files is text and no more.

    Parameters
    ----------
    title : str
        What stands above it; lines are kept.
    frame : DataFrame
        Its rows, or the first and the last of them.
    total : int
        How many rows there are in all.
    """
    text = [number for number, dtype in enumerate(frame.dtypes) if dtype.kind not in "biufcmM"]
    shown = frame.copy(deep=False)
    for number in text:
        shown.isetitem(number, shown.iloc[:, number].map(lambda value: visible(str(value))).array)
    shown = shown.set_axis([visible(str(name)) for name in shown.columns], axis="columns")
    head = "<br>".join(html.escape(visible(line)) for line in title.split("\n"))
    more = f"<p>{len(frame)} of {total} spectra are shown.</p>" if len(frame) < total else ""
    return f"<p>{head}</p>{shown.to_html(escape=True, index=False, na_rep='', border=0)}{more}"


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")
