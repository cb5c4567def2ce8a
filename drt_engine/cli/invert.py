"""``drt-engine invert``: a file of spectra into a file of distributions."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from drt_engine.cli.app import Overwrite, Workers, app
from drt_engine.cli.running import inverted, say_what_became_of

__all__ = ["invert"]

_METHOD = ("basis", "order", "part", "regularisation", "shared", "weighting", "noise", "inductance", "capacitance")
_JOB = (*("workers", "scheduler", "where", "name", "block", "compression", "dtype", "overwrite", "restart", "strict"),)
_INTERRUPTED = 130


@app.command(
    epilog="Example: drt-engine invert campaign.h5 -o campaign.drt.h5 --workers 2\n\n"
    "Exit codes: 0 done, 1 done but with --strict and spectra without an answer, 2 wrong use or input, 130 interrupted."
)
def invert(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File of spectra, or job file (.toml).")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File of inversions. [campaign.drt.h5]")] = None,
    basis: Annotated[str, typer.Option(help="Basis functions; gaussian, piecewise-linear, …")] = "gaussian",
    order: Annotated[int, typer.Option(help="Derivative whose square is penalised.", min=0, max=2)] = 1,
    part: Annotated[str, typer.Option(help="Part that is fitted: complex, re, im.")] = "complex",
    regularisation: Annotated[str, typer.Option(help="λ, or the criterion that chooses it: gcv, re-im, …")] = "gcv",
    shared: Annotated[
        str | None, typer.Option(help="One λ for a series: 'all', or state columns such as 'cell,cycle'.")
    ] = None,
    weighting: Annotated[str, typer.Option(help="Weights of the data: unit, modulus, iterated.")] = "unit",
    noise: Annotated[float | None, typer.Option(help="Noise as a share of |Z|, for discrepancy.")] = None,
    inductance: Annotated[bool, typer.Option(help="Model a series inductance.")] = True,
    capacitance: Annotated[bool, typer.Option(help="Model a series capacitance.")] = False,
    where: Annotated[
        str | None, typer.Option(help="Which spectra: a condition on the states, like \"cell == 'C' and cycle <= 9\".")
    ] = None,
    workers: Workers = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="inline, threads, processes, or the address of a Dask scheduler, tcp://….")
    ] = None,
    block: Annotated[int | None, typer.Option(help="Spectra in a block. [about half a second's]", min=1)] = None,
    name: Annotated[str, typer.Option(help="What the inversion is called in the file.")] = "default",
    dtype: Annotated[str, typer.Option(help="How results are stored: float64, float32.")] = "float64",
    compression: Annotated[str | None, typer.Option(help="gzip; by default nothing is compressed.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what an unfinished job left.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a spectrum has no answer.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Invert every spectrum of a file into a file of distributions.

    What is done is kept block by block: an interrupted job goes on when the same command is given again.
    """
    from drt_engine.errors import JobInterrupted

    given = dict(context.params)
    source, target, settings, job = file, output, {}, {}
    if file.suffix.lower() == ".toml":
        from drt_engine.jobs.job_file import read_job

        found = read_job(file)
        source, settings, job = found.input, found.method, found.job
        target = output or found.output
        # The file says what is usual, the command line what is wanted now.
        origins = {key: context.get_parameter_source(key) for key in given}
        given = {key: given[key] for key, origin in origins.items() if origin is None or origin.name != "DEFAULT"}
    settings |= {key: given[key] for key in _METHOD if key in given}
    job |= {key: given[key] for key in _JOB if key in given}
    must_succeed = job.pop("strict", False)
    # A folder such as "." has no name to change; the job refuses it.
    target = target or (source.with_suffix(".drt.h5") if source.name else Path(f"{source}.drt.h5"))
    try:
        summary = inverted(source, target, _method(settings), **job)
    except JobInterrupted as stop:
        typer.echo(f"drt-engine: {stop}", err=True)
        raise typer.Exit(_INTERRUPTED) from stop
    except KeyboardInterrupt as stop:
        typer.echo("drt-engine: interrupted before a block was done; nothing is lost.", err=True)
        raise typer.Exit(_INTERRUPTED) from stop
    say_what_became_of(summary)
    typer.echo(f"  {summary.path}")
    if must_succeed and summary.failed:
        typer.echo(f"drt-engine: {summary.failed} spectra have no answer.", err=True)
        raise typer.Exit(1)


def _method(settings: dict[str, Any]) -> Any:
    from drt_engine.methods import method_from_settings

    settings = {"name": "Tikhonov"} | settings
    if isinstance(shared := settings.get("shared"), str):
        settings["shared"] = shared == "all" or (shared.split(",") if "," in shared else shared)
    elif shared is None:
        settings.pop("shared", None)
    strength = settings.get("regularisation")
    if isinstance(strength, str):
        with suppress(ValueError):
            settings["regularisation"] = float(strength)
    return method_from_settings(settings)
