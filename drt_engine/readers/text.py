"""Text files of limited size: decoding, lines, delimiters, decimal signs and numbers."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drt_engine.errors import FileFormatError
from drt_engine.outputs import require_file
from drt_engine.readers.base import ReadOptions, format_error
from drt_engine.text import are_numbers, count_of, is_number

__all__ = [
    "MAX_BYTES",
    "MAX_LINE",
    "TextFile",
    "TextTable",
    "find_decimal",
    "find_delimiter",
    "head_text",
    "is_number",
    "read_text",
    "split_cells",
    "table_below",
    "without_empty_end",
]

MAX_BYTES = 256 * 2**20
"""Largest text file that is read, bytes."""

MAX_LINE = 2**20
"""Longest line that is read, bytes."""

_EASTERN = {
    name: tuple(word.encode(name) for word in words)
    for name, words in {
        "gb18030": ("频率", "阻抗", "实部", "虚部", "相位"),
        "shift_jis": ("周波数", "インピーダンス", "実部", "位相", "電圧"),
    }.items()
}
"""Words by which a file that is not UTF-8 is known to be Chinese or Japanese, in these encodings."""

Delimiter = Literal["\t", ";", ",", " "]
"""What stands between two cells; a blank stands for any run of blanks."""

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_RETURNS = re.compile(r"\r++\n?")
_BLOCK = 4096
"""Rows that are split into cells at once, so that a long file needs little memory."""
_MOST_KEPT = 250_000
"""Cells of a table up to which they are kept: columns are asked for one after the other, and splitting takes long."""
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class TextFile:
    """A decoded text file.

    Parameters
    ----------
    path : Path
        Where it was read.
    lines : tuple of str
        Its lines without their ends; line number n of an editor is ``lines[n - 1]``.
    encoding : str
        How it was decoded.
    ended : bool
        Whether the last line has an end.
    """

    path: Path
    lines: tuple[str, ...]
    encoding: str
    ended: bool

    def error(self, line: int | None, message: str) -> FileFormatError:
        """Return an error that names the file and the line (from 1)."""
        return format_error(self.path, line, message)


def read_text(path: Path, options: ReadOptions | None = None) -> TextFile:
    """Read and decode a text file.

    UTF-8 with or without byte order mark, UTF-16, and otherwise Windows-1252, which holds Latin-1.

    Parameters
    ----------
    path : Path
        Path of the file.
    options : ReadOptions, optional
        Its `encoding` is used if given.

    Raises
    ------
    FileFormatError
        For a file or a line beyond `MAX_BYTES` or `MAX_LINE`, for control characters, and for bytes that the encoding
        cannot have.
    """
    raw = _bounded_bytes(path)
    encoding = (options.encoding if options else None) or _encoding_of(raw)
    try:
        text = raw.decode(encoding)
    except LookupError as error:
        raise format_error(
            path, None, f"the encoding {encoding!r} is not known. Name one that Python knows, such as utf-8."
        ) from error
    except UnicodeDecodeError as error:
        where = f"byte {error.start}"
        raise format_error(path, where, f"not {encoding} text ({error.reason}). Name another encoding.") from error
    control = _CONTROL.search(text.rstrip("\x1a"))
    if control:
        line = len(_split_lines(text[: control.start()]))
        what = f"the control character {control[0]!r}, which no text has: the file is binary or damaged. Copy it again."
        raise format_error(path, line, what)
    lines = _split_lines(text)
    ended = lines[-1] == ""
    return TextFile(path, tuple(lines[:-1] if ended else lines), encoding, ended)


def _split_lines(text: str) -> list[str]:
    """Return lines that end with any number of returns and a line feed, or with a return."""
    return _RETURNS.sub(lambda end: "\n" if end[0][-1] == "\n" else "\n" * len(end[0]), text).split("\n")


def head_text(head: bytes) -> str:
    """Return the head of a file as text, or nothing if it is not text; for ``Reader.scan``."""
    text = head.decode(_encoding_of(head), errors="ignore")
    return "" if "\0" in text else text


def _bounded_bytes(path: Path) -> bytes:
    require_file(path, "a text file")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise format_error(
                path,
                f"byte {MAX_BYTES}",
                f"the file has {size / 2**20:.0f} MiB, and text is read up to {MAX_BYTES // 2**20} MiB. Split it.",
            )
        chunks, since, position = [], 0, 0
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                chunks.append(chunk)
                since = _longest_line(path, chunk, since, position)
                position += len(chunk)
    except FileFormatError:
        raise
    except OSError as error:
        raise format_error(path, None, f"it cannot be read ({error.strerror or error}).") from error
    if not position:
        raise format_error(path, "byte 0", "the file is empty. Export it again.")
    return b"".join(chunks)


def _longest_line(path: Path, chunk: bytes, since: int, position: int) -> int:
    """Return how many bytes the line that is open at the end of the chunk has; refuse one that is too long."""
    first = min((i for i in (chunk.find(b"\n"), chunk.find(b"\r")) if i >= 0), default=-1)
    if since + (len(chunk) if first < 0 else first) > MAX_LINE:
        start = position - since
        raise format_error(
            path, f"byte {start}", f"a line of more than {MAX_LINE} bytes begins here: the file is binary or damaged."
        )
    last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
    return since + len(chunk) if last < 0 else len(chunk) - last - 1


def _encoding_of(raw: bytes) -> str:
    for mark, name in _BOMS:
        if raw.startswith(mark):
            return name
    sample = raw[:4096]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > 0.4 * len(sample) / 2 and even == 0:
        return "utf-16-le"
    if even > 0.4 * len(sample) / 2 and odd == 0:
        return "utf-16-be"
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(raw) - 3:  # a head may end within a character
            for name, words in _EASTERN.items():
                if any(word in sample for word in words):
                    return name
            return "latin-1" if any(byte in raw for byte in b"\x81\x8d\x8f\x90\x9d") else "cp1252"
    return "utf-8"


def split_cells(line: str, delimiter: Delimiter) -> list[str]:
    """Return the cells of a line, without blanks and quotation marks around them."""
    if delimiter == " ":
        return line.split()
    if '"' in line and any(cell.lstrip().startswith('"') for cell in line.split(delimiter)):
        try:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
        except csv.Error:
            return [cell.strip().strip('"') for cell in line.split(delimiter)]
    return [cell.strip() for cell in line.split(delimiter)]


def find_delimiter(lines: Iterable[str]) -> Delimiter:
    """Return the delimiter under which lines of numbers have the same number of cells, all of them numbers.

    A tab or a semicolon wins where there is one. A comma that stands beside blanks is a decimal sign if cells between
    commas are not numbers.
    """
    some = [line for line in lines if line.strip()][:50]
    if not some:
        return " "
    candidates: tuple[Delimiter, ...] = ("\t", ";", ",")
    for delimiter in candidates:
        split = [split_cells(line, delimiter) for line in some]
        most, count = Counter(map(len, split)).most_common(1)[0]
        if most < 2 or 2 * count < len(some):
            continue
        cells = [cell for row in split for cell in row if cell]
        if delimiter != "," or 2 * sum(map(is_number, cells)) > len(cells):
            return delimiter
    return " "


@dataclass(frozen=True)
class TextTable:
    r"""A table in a text file: headings, and rows of cells below.

    Parameters
    ----------
    text : TextFile
        The file.
    headings : tuple of str
        One for each column.
    lines : ndarray of int, shape (N,)
        Line number of each row.
    delimiter : {"\t", ";", ",", " "}
        What stands between cells.
    decimal : {".", ","}
        The decimal sign, for the whole table.
    columns : str, optional
        How the user names the columns, as in `ReadOptions`.
    flip_im : bool
        Whether the user says that the imaginary part has the other sign, as in `ReadOptions`.
    """

    text: TextFile
    headings: tuple[str, ...]
    lines: NDArray[np.int64]
    delimiter: Delimiter
    decimal: str
    columns: str | None = None
    flip_im: bool = False
    _kept: dict[int, list[list[str]]] = field(default_factory=dict, init=False, repr=False, compare=False)

    unit = "line"
    """What `lines` counts."""

    @property
    def source(self) -> Path:
        """The file."""
        return self.text.path

    def __len__(self) -> int:
        """N, the number of rows."""
        return int(self.lines.size)

    def cells(self, row: int) -> list[str]:
        """Return the cells of a row, as many as there are headings.

        Raises
        ------
        FileFormatError
            If there are more or fewer.
        """
        line = int(self.lines[row])
        cells = split_cells(self.text.lines[line - 1], self.delimiter)
        while len(cells) > len(self.headings) and not cells[-1]:
            cells.pop()
        if len(cells) != len(self.headings):
            raise self.text.error(
                line,
                f"{count_of(len(cells), 'cell')}, where the headings name {count_of(len(self.headings), 'column')} "
                f"({', '.join(self.headings)}). {self._why(len(cells))}",
            )
        return cells

    def _why(self, count: int) -> str:
        """Say what may have become of a line that has another number of cells than there are headings."""
        if count > len(self.headings) and self.delimiter == ",":
            return (
                "If numbers have decimal commas, export them with semicolons or tabs between, or with decimal points; "
                "otherwise the line is damaged."
            )
        return "The line is cut or damaged: correct or remove it, or export the file again."

    def numbers(self, indices: Sequence[int], missing: frozenset[str] = frozenset()) -> NDArray[np.float64]:
        """Return columns as numbers.

        Parameters
        ----------
        indices : sequence of int
            Which columns; no others are parsed.
        missing : frozenset of str, optional
            Cells that the format knows as missing; they become NaN.

        Returns
        -------
        ndarray, shape (N, len(indices))

        Raises
        ------
        FileFormatError
            For a row with another number of cells and a cell that is not a number, with line and column.
        """
        values = np.empty((len(self), len(indices)))
        for start, block in self._blocks():
            for j, index in enumerate(indices):
                column = [cells[index] for cells in block]
                values[start : start + len(block), j] = self._parsed(column, start, index, missing)
        self._refuse_cut_end()
        return values

    def resolution(self, row: int, index: int) -> float:
        """Return half a unit of the last digit that is printed in a cell."""
        mantissa, _, exponent = self.cells(row)[index].replace(",", ".").lower().replace("d", "e").partition("e")
        if not re.fullmatch(r"(?:[+-]?\d{1,4})?", exponent):  # a word
            return 0.0
        power = int(exponent or 0) - len(mantissa.partition(".")[2])
        return 0.5 * 10.0 ** min(max(power, -300), 300)

    def _blocks(self) -> Iterator[tuple[int, list[list[str]]]]:
        for start in range(0, len(self), _BLOCK):
            block = self._kept.get(start)
            if block is None:
                block = [self.cells(row) for row in range(start, min(start + _BLOCK, len(self)))]
                if len(self) * len(self.headings) <= _MOST_KEPT:
                    self._kept[start] = block
            yield start, block

    def _parsed(self, column: list[str], start: int, index: int, missing: frozenset[str]) -> list[float]:
        if column and are_numbers(column, self.decimal):
            plain = "\n".join(column).replace(",", ".").replace("d", "e").replace("D", "e")
            return [float(cell) for cell in plain.split("\n")]
        out = []
        for offset, cell in enumerate(column):
            if is_number(cell, self.decimal):
                out.append(float(cell.replace(",", ".").replace("d", "e").replace("D", "e")))
            elif cell in missing:
                out.append(float("nan"))
            else:
                raise self.text.error(int(self.lines[start + offset]), self._no_number(cell, index))
        return out

    def _no_number(self, cell: str, index: int) -> str:
        where = f"column {index + 1} ({self.headings[index]})"
        if re.fullmatch(r"[+-]?\d{1,3}(?:[.,' ]\d{3})*[.,]?\d*(?:[eE][+-]?\d+)?", cell):
            return (
                f"{where} has {cell!r}, with the decimal sign {self.decimal!r} elsewhere in the file. Export it with "
                "one decimal sign and without thousands separators."
            )
        return f"{where} has {cell!r}, where a number was expected. Correct or remove the line."

    def _refuse_cut_end(self) -> None:
        """Refuse a last cell that is not printed like all above it, if the file does not end with its line."""
        if self.text.ended or len(self) < 3 or int(self.lines[-1]) != len(self.text.lines):
            return
        above = {_shape(self.cells(row)[-1]) for row in range(max(0, len(self) - 50), len(self) - 1)}
        last = self.cells(len(self) - 1)[-1]
        if len(above) == 1 and above != {"0"} and _shape(last) not in above:
            raise self.text.error(
                int(self.lines[-1]),
                f"the last cell of the file, {last!r}, is not printed like those above, and its line has no end: "
                "the file was cut. Copy or export it again.",
            )


def _shape(cell: str) -> str:
    """Return how a number is printed, without its sign and the digits before the point."""
    return re.sub(r"\d", "0", re.sub(r"^[+-]?\d*", "0", cell)).replace("-", "+")


def find_decimal(lines: Iterable[str], delimiter: Delimiter) -> str:
    r"""Return the decimal sign of a table, once for all of it.

    Parameters
    ----------
    lines : iterable of str
        Rows of the table.
    delimiter : {"\t", ";", ",", " "}
        What stands between cells.
    """
    comma = dot = 0  # a sign that differs further down is an error of that line, not another decision
    for line in lines:
        for cell in split_cells(line, delimiter):
            comma += "," in cell and is_number(cell, ",")
            dot += "." in cell and is_number(cell, ".")
        if comma + dot > 500:
            break
    return "," if comma > dot else "."


def table_below(
    text: TextFile,
    heading: int | None,
    *,
    headings: Sequence[str] | None = None,
    stop: int | None = None,
    skip: int = 0,
    options: ReadOptions | None = None,
) -> TextTable:
    """Return the table below a line of headings.

    Parameters
    ----------
    text : TextFile
        The file.
    heading : int or None
        Number of the line of headings, from 1. None if the table begins with the file and has none.
    headings : sequence of str, optional
        The headings, if the line does not give them as they are meant.
    stop : int, optional
        Number of the first line that is no row any more; the end of the file if not given. Empty lines are no rows.
    skip : int, optional
        How many lines stand between headings and rows, for example one of units.
    options : ReadOptions, optional
        Its `decimal` is used if given.

    Raises
    ------
    FileFormatError
        If there is no row.
    """
    first = (heading or 0) + 1 + skip
    last = len(text.lines) if stop is None else stop - 1
    lines = np.array([n for n in range(first, last + 1) if text.lines[n - 1].strip()], dtype=np.int64)
    if not lines.size:
        raise text.error(min(first, len(text.lines)), "no rows below the headings: the file is cut, or holds no data.")
    rows = [text.lines[n - 1] for n in lines]
    delimiter = find_delimiter(rows)
    decimal = (options.decimal if options else None) or find_decimal(rows, delimiter)
    if headings is None:
        if heading is None:
            headings = [f"column {i + 1}" for i in range(len(without_empty_end(split_cells(rows[0], delimiter))))]
        else:
            headings = without_empty_end(_heading_cells(text.lines[heading - 1], delimiter))
    told = options or ReadOptions()
    return TextTable(text, tuple(headings), lines, delimiter, decimal, told.columns, told.flip_im)


def _heading_cells(line: str, delimiter: Delimiter) -> list[str]:
    """Return headings, which may stand in one pair of quotation marks with runs of blanks between them."""
    if delimiter == " ":
        return re.split(r"\t|\s{2,}", line.strip()) if re.search(r"\t|\s{2,}", line.strip()) else line.split()
    return split_cells(line, delimiter)


def without_empty_end(cells: Sequence[str]) -> Sequence[str]:
    """Return the cells of a line without those at its end that are empty."""
    while cells and not cells[-1]:
        cells = cells[:-1]
    return cells
