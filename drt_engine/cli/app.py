"""The application, and what its commands have in common.

Everything that a command prints goes through here, and only here: names of cells, of grids and of files are written by
others, and a terminal obeys what some characters say.
"""

import logging
import re
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from drt_engine.text import for_spreadsheets, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

__all__ = [
    "Grid",
    "InversionName",
    "Overwrite",
    "PlainFormatter",
    "Where",
    "Workers",
    "app",
    "console",
    "counted",
    "for_spreadsheets",
    "input_error",
    "say",
    "show_table",
    "show_tree",
    "show_uncaught",
    "spelled",
]


# Headings are written by others: what is looked at behind a quotation mark is bounded, so that time stays linear.
_COLUMNS = re.compile(r"\bcolumns=('(?:[^']|'(?=[^ ,.;)=]{0,100}=))*')")
_SPELLINGS = {
    "flip_im=True": "--flip-im",
    "unfinished=True": "--unfinished",
    "one with reader": "one with --reader",
    "Say which with reader.": "Say which with --reader.",
    "or say overwrite": "or say --overwrite",
    "Correct columns,": "Correct --columns,",
    "columns names": "--columns names",
    "columns has": "--columns has",
    "columns must name": "--columns must name",
    "overwrite=True": "--overwrite",
    "not taken; name=": "not taken; --name ",
    "level=0.95": "--level 0.95",
    "say so by name, states or constants": "say so by --name, --states or --temperature",
}
_MOST_SHOWN = 1000  # characters of one text in a table or a tree; Rich takes minutes to colour a name of 100,000


class _Group(TyperGroup):
    """Commands whose errors of usage show what was typed, or what stood for ``*``, as plain text."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _plain_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, *arguments: Any) -> Any:
        with _plain_errors():
            return super().invoke(*arguments)


app = typer.Typer(
    name="drt-engine",
    cls=_Group,
    help="Distributions of relaxation times from in situ impedance spectra.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from drt_engine import __version__

        say(f"drt-engine {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Distributions of relaxation times from in situ impedance spectra."""


Where = Annotated[str | None, typer.Option(help="Which spectra: a condition on the states.")]
InversionName = Annotated[str | None, typer.Option(help="Inversion, if the file has several.")]
Grid = Annotated[str | None, typer.Option(help="Grid, if the file has several; otherwise all.")]
Workers = Annotated[int, typer.Option(help="Processes that invert; 1 starts none.", min=1)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it is there.")]


class Once(logging.Filter):
    """Lets each message of figures through once: several figures of one command may have the same to say."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a message is new."""
        if not record.name.startswith("drt_engine.plotting"):
            return True
        message = record.getMessage()
        new = message not in self._said
        self._said.add(message)
        return new


class PlainFormatter(logging.Formatter):
    """Messages of the log as plain text, one line each."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        """Write a message."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        """Write where an exception came from."""
        return "\n".join(map(visible, super().formatException(ei).split("\n")))


def say(*lines: object, err: bool = False) -> None:
    r"""Print lines as plain text.

    Parameters
    ----------
    *lines : object
        One line each; a line end within one is shown as ``\\n``.
    err : bool
        Whether they go to the standard error.
    """
    for line in lines:
        typer.echo(visible(str(line)), err=err)


def console(*, stderr: bool = False) -> Any:
    """Where bars go; tables and trees go through :func:`show_table` and :func:`show_tree`."""
    from rich.console import Console

    return Console(stderr=stderr)


def show_table(
    headings: "Iterable[object]", rows: "Iterable[Sequence[object]]", *, left: "Iterable[object]" = (), title: str = ""
) -> None:
    """Print a table.

    Parameters
    ----------
    headings : iterable
        One for each column.
    rows : iterable of sequences
        Their cells.
    left : iterable
        Headings of columns that are aligned to the left; others are to the right.
    title : str
        What stands above.
    """
    from rich.table import Table

    table, names = Table(title=title or None), set(left)
    for heading in headings:
        table.add_column(_text(heading), justify="left" if heading in names else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    console().print(table)


def show_tree(title: str, branches: "Mapping[str, Iterable[str]]") -> None:
    """Print a tree of two levels.

    Parameters
    ----------
    title : str
        What stands above.
    branches : mapping of str to iterable of str
        What stands below each.
    """
    from rich.highlighter import ReprHighlighter
    from rich.tree import Tree

    highlighted = ReprHighlighter()
    tree = Tree(highlighted(_text(title)))
    for name, leaves in branches.items():
        branch = tree.add(highlighted(_text(name)))
        for leaf in leaves:
            branch.add(highlighted(_text(leaf)))
    console().print(tree)


def show_uncaught(kind: type[BaseException], error: BaseException, trace: "TracebackType | None") -> None:
    """Print an unexpected error, and where it came from; for ``sys.excepthook``."""
    lines = "".join(traceback.format_exception(kind, error, trace)).rstrip("\n")
    say(*lines.split("\n"), err=True)


def counted(counts: "Mapping[str, int]") -> str:
    """Write counts by status on one line."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def spelled(message: str) -> str:
    """Write a message of the library, which names arguments as Python does, in the spelling of the command line."""
    message = _COLUMNS.sub(r"--columns \1", message)
    for python, option in _SPELLINGS.items():
        message = message.replace(python, option)
    return message


def input_error(message: str) -> Exception:
    """Return an error of the user's, which becomes one line and exit code 2."""
    from drt_engine.errors import InputError

    return InputError(message)


def _text(value: object) -> Any:
    from rich.text import Text

    text = str(value)
    if len(text) > _MOST_SHOWN:
        text = f"{text[:_MOST_SHOWN]}… ({len(text)} characters)"
    return Text(visible(text))


@contextmanager
def _plain_errors() -> "Iterator[None]":
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str) and hasattr(error, "format_message"):
            # Whatever has a message of its own: its type does not say so.
            vars(error)["message"] = "\n".join(map(visible, message.split("\n")))
        raise
