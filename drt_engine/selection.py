"""Conditions on states, such as ``cell == 'C' and cycle <= 100``: a small language in which nothing can be run.

Conditions come from files as well as from the user: a job file has one, and a file of inversions keeps the one that its
spectra were chosen by. So only what is listed here is understood: columns by their names (in backticks where a name is
no word), numbers, text in quotes, True and False, lists, comparisons, ``in``, ``and``, ``or``, ``not``, parentheses,
and ``+ - * /`` on numbers. Length, depth and the number of operations are bounded, and with them the time.
"""

import ast
import math
import operator
import re
import unicodedata
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from drt_engine.errors import InputError

__all__ = ["Condition", "rows_where"]

MAX_LENGTH = 10_000
"""Characters of the longest condition."""
MAX_OPERATIONS = 200
"""Comparisons, signs and words between them, at most; each costs one pass over the states."""
MAX_DEPTH = 50
"""Parentheses within parentheses, at most."""

_EXAMPLE = "Write it like \"cell == 'C' and cycle <= 100\"."
_ALLOWED = "columns, numbers, text in quotes, lists, comparisons, in, and, or, not, + - * / and parentheses"
_SHOWN = 200
"""Characters of a condition that a message repeats."""
_PIECE = re.compile(r"""`([^`\n]*+)`|'(?:[^'\\\n]|\\.)*+'|"(?:[^"\\\n]|\\.)*+"|[(\[{]|[)\]}]|['"`]""")
_INSTANT = re.compile(
    r"\d{4}(?:-\d\d(?:-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d(?:\.\d{1,9})?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?)?)?", re.ASCII
)
_COMPARE: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_CALCULATE: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_JOIN: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.And: operator.and_,
    ast.BitAnd: operator.and_,
    ast.Or: operator.or_,
    ast.BitOr: operator.or_,
}
_LISTS = (ast.List, ast.Tuple, ast.Set)
_NODES = (
    *(ast.Expression, ast.Name, ast.Load, ast.Constant, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, *_LISTS),
    *(ast.UAdd, ast.USub, ast.Not, ast.Invert, ast.In, ast.NotIn, *_COMPARE, *_CALCULATE, *_JOIN),
)
_REFUSED: Mapping[type, str] = {
    ast.Attribute: "a dot after a name",
    ast.Call: "a call",
    ast.Subscript: "brackets after a name",
    ast.Pow: "a power",
    ast.MatMult: "@",
    ast.JoinedStr: "text that is computed",
    ast.Is: "is, which is written ==",
    ast.IsNot: "is not, which is written !=",
}


class _NoConditionError(Exception):
    """Why a text is not a condition, for the end of a message."""


@dataclass(frozen=True)
class Condition:
    """A condition on states, read and not yet applied.

    Parameters
    ----------
    text : str
        The condition, for example ``"cell == 'C' and cycle <= 100"``.

    Raises
    ------
    InputError
        For text that is not a condition, whatever the states are.
    """

    text: str
    _tree: ast.expr = field(init=False, repr=False, compare=False)
    _names: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read it."""
        try:
            tree, names = _parsed(self.text)
        except _NoConditionError as error:
            raise InputError(f"{_shown(self.text)} is not a condition: {error}. {_EXAMPLE}") from error
        object.__setattr__(self, "_tree", tree)
        object.__setattr__(self, "_names", names)

    def rows(self, states: pd.DataFrame) -> NDArray[np.int64]:
        """Return the rows of states for which it holds.

        Parameters
        ----------
        states : DataFrame
            What each of K spectra was measured at.

        Returns
        -------
        ndarray of int
            Row numbers, ascending. A missing value equals nothing and is neither less nor more than anything.

        Raises
        ------
        InputError
            For columns that do not exist, and where numbers are compared with text.
        """
        try:
            holds = _condition(_Values(states, self._names).of(self._tree))
        except _NoConditionError as error:
            columns = ", ".join(map(str, states.columns)) or "none"
            raise InputError(
                f"{_shown(self.text)} is not a condition on the states ({columns}): {error}. {_EXAMPLE}"
            ) from error
        return np.flatnonzero(holds.fillna(False).to_numpy(dtype=bool))

    def referring(self, words: Collection[str]) -> "tuple[Condition, dict[str, tuple[str, str]]]":
        """Let words stand for other values of the column that they are compared with.

        Parameters
        ----------
        words : collection of str
            For example ``{"first"}``: in ``r_pol > 1.2 * first`` it then stands for the first value of r_pol.

        Returns
        -------
        condition : Condition
            The same with a column of its own for each word and column.
        columns : dict of str to (str, str)
            Word and column by the name of that column.

        Raises
        ------
        InputError
            For a word in a comparison in which there is no other column, or several.
        """
        tree, columns = deepcopy(self._tree), dict[str, tuple[str, str]]()
        compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
        inside = {id(name) for node in compared for name in ast.walk(node)}
        for name in ast.walk(tree):
            if isinstance(name, ast.Name) and name.id in words and id(name) not in inside:
                raise InputError(
                    f"{_shown(self.text)}: {name.id!r} is compared with nothing. Write r_pol > 1.2 * first."
                )
        for node in compared:
            names = [name for name in ast.walk(node) if isinstance(name, ast.Name)]
            others = {self._names.get(name.id, name.id) for name in names if name.id not in words}
            for name in names:
                if name.id not in words:
                    continue
                if len(others) != 1:
                    raise InputError(
                        f"{_shown(self.text)}: {name.id!r} stands for a value of the one column that it is compared "
                        f"with; there are {', '.join(sorted(others)) or 'none'}. Make comparisons of one column each."
                    )
                (column,) = others
                word, name.id = name.id, f"{name.id} of {column}"
                columns[name.id] = word, column
        found = object.__new__(Condition)
        for key, value in (("text", self.text), ("_tree", tree), ("_names", self._names)):
            object.__setattr__(found, key, value)
        return found, columns


def rows_where(states: pd.DataFrame, condition: str) -> NDArray[np.int64]:
    """Return the rows of states for which a condition holds, as :class:`Condition` has it.

    Parameters
    ----------
    states : DataFrame
        What each of K spectra was measured at.
    condition : str
        For example ``"cell == 'C' and cycle <= 100"``.

    Returns
    -------
    ndarray of int
        Row numbers, ascending.

    Raises
    ------
    InputError
        For text that is not a condition on the states.
    """
    return Condition(condition).rows(states)


def _shown(text: object) -> str:
    short = f"{text[:_SHOWN]}…" if isinstance(text, str) and len(text) > _SHOWN else text
    return repr(short)


def _refuse(why: str) -> NoReturn:
    raise _NoConditionError(why)


def _parsed(text: object) -> tuple[ast.expr, Mapping[str, str]]:
    """Return the tree of a condition, and the columns that stand in backticks by the names they have in it."""
    if not isinstance(text, str):
        _refuse(f"it is of type {type(text).__name__}, and text was expected")
    if len(text) > MAX_LENGTH:
        _refuse(f"it has {len(text)} characters, and {MAX_LENGTH} are read")
    plain, names = _without_backticks(text)
    try:
        with warnings.catch_warnings():
            # About backslashes in text and the like, which mean here what they mean in Python.
            warnings.simplefilter("ignore")
            tree = ast.parse(plain.strip(), mode="eval")
    except SyntaxError:
        single = re.search(r"(?<![=<>!])=(?!=)", plain)
        _refuse(
            "equal is written ==" if single else "it is not complete, or a word or sign in it is not where it belongs"
        )
    except (ValueError, RecursionError, MemoryError):
        _refuse("it is nested too deeply, or holds characters that no condition has")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            _check_constant(node.value)
        if not isinstance(node, _NODES):
            what = _REFUSED.get(type(node), f"what Python calls {type(node).__name__}")
            _refuse(f"it has {what}, and only {_ALLOWED} are understood")
    operations = sum(map(_operations, ast.walk(tree)))
    if operations > MAX_OPERATIONS:
        _refuse(f"it has {operations} operations, and {MAX_OPERATIONS} are done. Many values of a column: in [1, 2, 3]")
    if any(depth > 2 * MAX_DEPTH for _, depth in _with_depth(tree)):
        _refuse("it is nested too deeply")
    return tree.body, names


def _without_backticks(text: str) -> tuple[str, Mapping[str, str]]:
    """Put names that Python can read in place of those in backticks, and refuse what is nested too deeply for it."""
    if "'''" in text or '"""' in text:
        _refuse("it has three quotation marks in a row")
    prefix, names, depth = "column_", dict[str, str](), 0
    while prefix in text:
        prefix += "_"
    pieces, at = [], 0
    for piece in _PIECE.finditer(text):
        if piece[0] in ("'", '"', "`"):
            _refuse(f"the quotation mark {piece[0]} at character {piece.start() + 1} is not closed")
        depth += (piece[0] in ("(", "[", "{")) - (piece[0] in (")", "]", "}"))
        if depth > MAX_DEPTH:
            _refuse(f"it has more than {MAX_DEPTH} parentheses within one another")
        if piece[1] is not None:
            name = f"{prefix}{len(names)}"
            names[name] = piece[1]
            pieces += [text[at : piece.start()], f" {name} "]
            at = piece.end()
    return "".join([*pieces, text[at:]]), names


def _check_constant(value: object) -> None:
    if isinstance(value, int | float):
        # Python compares integers of any size exactly.
        if abs(value) >= (2**63 if isinstance(value, int) else math.inf):
            _refuse("it has a number that is too large")
    elif not isinstance(value, str):
        _refuse(f"{'...' if value is ... else value!r} is neither a number nor text")


def _operations(node: ast.AST) -> int:
    if isinstance(node, ast.Compare):
        return len(node.ops)
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    return isinstance(node, ast.BinOp) or (isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant))


def _with_depth(tree: ast.AST) -> Iterator[tuple[ast.AST, int]]:
    left = [(tree, 0)]
    while left:
        node, depth = left.pop()
        yield node, depth
        left += [(child, depth + 1) for child in ast.iter_child_nodes(node)]


@dataclass(frozen=True)
class _Values:
    """What the parts of a condition stand for: a Series with K rows, or one number or text."""

    states: pd.DataFrame
    names: Mapping[str, str]

    def of(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Name):
            return self._column(node.id)
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.Not | ast.Invert):
                return ~_condition(self.of(node.operand))
            return _calculated(operator.mul, -1 if isinstance(node.op, ast.USub) else 1, self.of(node.operand))
        if isinstance(node, ast.BinOp) and type(node.op) in _CALCULATE:
            return _calculated(_CALCULATE[type(node.op)], self.of(node.left), self.of(node.right))
        if isinstance(node, ast.BinOp):
            return _JOIN[type(node.op)](_condition(self.of(node.left)), _condition(self.of(node.right)))
        if isinstance(node, ast.BoolOp):
            conditions = (_condition(self.of(part)) for part in node.values)  # noqa: PD011 - not those of a DataFrame
            return reduce(_JOIN[type(node.op)], conditions)
        if isinstance(node, ast.Compare):
            return self._compared(node)
        _refuse("a list stands to the right of in, ==, != or not in, and nowhere else")

    def _column(self, name: str) -> pd.Series:
        # Python reads names in their normal form: the micro sign as mu, for example.
        wanted = self.names.get(name, name)
        known = [column for column in self.states.columns if column == wanted] or [
            column for column in self.states.columns if unicodedata.normalize("NFKC", str(column)) == wanted
        ]
        if len(known) != 1:
            _refuse(f"there is no column {wanted!r}" if not known else f"there are several columns {wanted!r}")
        series: pd.Series = self.states[known[0]]
        return series.astype(series.cat.categories.dtype) if isinstance(series.dtype, pd.CategoricalDtype) else series

    def _compared(self, node: ast.Compare) -> pd.Series:
        parts = [node.left, *node.comparators]
        values = [
            [self._element(one) for one in part.elts] if isinstance(part, _LISTS) else self.of(part) for part in parts
        ]
        pairs = zip(node.ops, pairwise(values), strict=True)
        return reduce(operator.and_, (_holds(type(sign), *pair) for sign, pair in pairs))

    def _element(self, node: ast.AST) -> Any:
        value = self.of(node) if not isinstance(node, ast.Name | ast.Compare | ast.BoolOp) else None
        if value is None or isinstance(value, pd.Series):
            _refuse("a list may hold numbers and text, and no columns")
        return value


def _calculated(work: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Do arithmetic on numbers; integers stay exact or are refused."""
    sides = [_number(side) for side in (left, right)]
    try:
        value = work(*sides)
        if all(map(_is_whole, sides)) and work is not operator.truediv:
            rough = work(*(side.astype(float) if isinstance(side, pd.Series) else float(side) for side in sides))
            if np.any(np.abs(rough) >= 2.0**63):
                _refuse("a result is too large for an integer. Write one of the numbers with a point, such as 2.0")
    except (ArithmeticError, TypeError, ValueError) as error:
        _refuse(f"it cannot be computed ({error})")
    return value


def _number(value: Any) -> Any:
    series = isinstance(value, pd.Series) and not types.is_numeric_dtype(value.dtype)
    if isinstance(value, list | str | bool) or (series and _kind(value) != "numbers"):
        _refuse("+ - * / are for numbers, and one side is something else")
    if not isinstance(value, pd.Series):
        return value
    if types.is_bool_dtype(value.dtype):
        _refuse("+ - * / are for numbers, and one side is true or false")
    if types.is_object_dtype(value.dtype):
        return pd.to_numeric(value, errors="coerce")
    # Small integers would wrap around; as many bits as there are do not.
    whole = types.is_integer_dtype(value.dtype) and not types.is_extension_array_dtype(value.dtype)
    return value.astype(np.int64) if whole and value.dtype != np.uint64 else value


def _is_whole(value: Any) -> bool:
    return types.is_integer_dtype(value.dtype) if isinstance(value, pd.Series) else isinstance(value, int)


def _condition(value: Any) -> pd.Series:
    if not isinstance(value, pd.Series) or not types.is_bool_dtype(value.dtype):
        what = (
            f"the column {value.name!r}" if isinstance(value, pd.Series) and value.name is not None else "a part of it"
        )
        _refuse(
            f"{what} is not true or false for each spectrum and has to be compared with something; comparisons "
            "between & and | stand in parentheses"
        )
    return value


def _holds(sign: type, left: Any, right: Any) -> pd.Series:
    """Compare two sides."""
    if isinstance(left, list) or not any(isinstance(side, pd.Series) for side in (left, right)):
        _refuse("a comparison has a column on one side at least, and a list stands to its right")
    if isinstance(right, list):
        if sign not in (ast.In, ast.NotIn, ast.Eq, ast.NotEq):
            _refuse("with a list, only in, not in, == and != have a meaning")
        column = _matched(left, right)
        found = column.isin([_converted(value, column) for value in right])
        return found if sign in (ast.In, ast.Eq) else ~found
    if sign not in _COMPARE:
        _refuse("to the right of in, a list was expected, such as [1, 2, 3]")
    for column, other in ((left, right), (right, left)):
        if isinstance(column, pd.Series):
            _matched(column, [other])
    sides = [_converted(side, other) for side, other in ((left, right), (right, left))]
    try:
        return pd.Series(_COMPARE[sign](*sides))
    except (ArithmeticError, TypeError, ValueError) as error:
        _refuse(f"two sides cannot be compared ({error})")


def _matched(column: Any, others: Iterable[Any]) -> pd.Series:
    """Refuse what is compared with something of another kind: it would hold for no row, or for all."""
    if not isinstance(column, pd.Series):
        _refuse("to the left of a list, a column was expected")
    kind = _kind(column)
    for other in others:
        found = _kind(other)
        if kind == "instants" and isinstance(other, str):
            continue
        if "any" not in (kind, found) and kind != found:
            got = f"the {found} of {other.name!r}" if isinstance(other, pd.Series) else repr(other)
            _refuse(
                f"the column {column.name!r} holds {kind} and is compared with {got}"
                + (f"; text stands in quotes, '{other!r}'" if kind == "text" and found == "numbers" else "")
            )
    return column


def _kind(value: Any) -> str:
    """Return "numbers", "text" or "instants"; "any" for a column without values, or of several kinds."""
    if isinstance(value, str):
        return "text"
    if not isinstance(value, pd.Series):
        return "numbers"
    if types.is_numeric_dtype(value.dtype) or types.is_bool_dtype(value.dtype):
        return "numbers" if value.notna().any() else "any"
    if types.is_datetime64_any_dtype(value.dtype):
        return "instants"
    found = types.infer_dtype(value, skipna=True)
    numbers = dict.fromkeys(("integer", "floating", "mixed-integer-float", "boolean"), "numbers")
    return ({"string": "text"} | numbers).get(found, "any")


def _converted(value: Any, other: Any) -> Any:
    """Read text as an instant where it is compared with instants."""
    if not isinstance(value, str) or not isinstance(other, pd.Series) or _kind(other) != "instants":
        return value
    if not _INSTANT.fullmatch(value):
        _refuse(f"the column {other.name!r} holds instants, written like '2024-05-31 12:00'; got {value!r}")
    try:
        instant = pd.Timestamp(value)
        zone = getattr(other.dtype, "tz", None)
        return instant.tz_localize(zone) if zone is not None and instant.tz is None else instant
    except (ArithmeticError, ValueError) as error:
        _refuse(f"{value!r} is no instant ({error})")
