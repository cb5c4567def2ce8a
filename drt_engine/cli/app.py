"""The application, and what its commands have in common."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Overwrite", "Workers", "app", "console", "counted", "input_error"]

app = typer.Typer(
    name="drt-engine",
    help="Distributions of relaxation times from in situ impedance spectra.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Workers = Annotated[int, typer.Option(help="Processes that invert; 1 starts none.", min=1)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it is there.")]


def console(*, stderr: bool = False) -> Any:
    """Where tables and bars go."""
    from rich.console import Console

    return Console(stderr=stderr)


def counted(counts: "Mapping[str, int]") -> str:
    """Write counts by status on one line."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def input_error(message: str) -> Exception:
    """Return an error of the user's, which becomes one line and exit code 2."""
    from drt_engine.errors import InputError

    return InputError(message)
