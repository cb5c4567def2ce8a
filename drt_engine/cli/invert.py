"""``drt-engine invert``: a file of spectra into a file of distributions."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from drt_engine.cli.app import Overwrite, Workers, app, say
from drt_engine.cli.running import inverted, say_series, say_what_along_would_do, say_what_became_of
from drt_engine.cli.summary import quality
from drt_engine.text import count_of

if TYPE_CHECKING:
    from drt_engine.jobs import JobSummary

__all__ = ["invert"]

_METHODS = {"tikhonov": "Tikhonov", "log-gaussian": "LogGaussian"}
_METHOD = (
    *("basis", "order", "part", "regularisation", "shared", "weighting", "noise", "inductance", "capacitance"),
    *("along", "series", "tail", "exponent", "sign", "kernel", "representation", "drift"),
)
_OF_TIKHONOV = {"basis", "order", "part", "shared", "weighting"}
_OF_LOG_GAUSSIAN = {"along", "series", "tail", "exponent", "sign", "representation", "drift"}
_JOB = (
    *("workers", "scheduler", "level", "where", "name", "block", "compression", "dtype"),
    *("overwrite", "restart", "strict"),
)
_INTERRUPTED = 130  # exit code of programs that Ctrl-C ended: 128 and the number of SIGINT


_Method = Annotated[str, typer.Option(help="log-gaussian, or tikhonov: forty times faster, and less accurate.")]
_Along = Annotated[
    list[str] | None,
    typer.Option(
        help="State along which the spectra of a series are inverted together, such as voltage or cycle; given "
        "twice, series that are neighbours in the second are coupled as well.",
        show_default=False,
    ),
]
_Series = Annotated[
    list[str] | None,
    typer.Option(
        help="State that is equal within a series; may be given several times. [cell, cycle, direction, "
        "temperature and what else is text or whole numbers]",
        show_default=False,
    ),
]
_Level = Annotated[
    float | None, typer.Option(help="Store intervals of γ, R_pol and R_inf of this probability; 0.95 is usual.")
]
_Regularisation = Annotated[
    str, typer.Option(help="λ, or the criterion that chooses it: evidence; for Tikhonov gcv, re-im, …")
]
_Shared = Annotated[
    str | None, typer.Option(help="Tikhonov: one λ for a series; 'all', or state columns such as 'cell,cycle'.")
]
_Noise = Annotated[
    str | None,
    typer.Option(help="auto, constant or proportional; for Tikhonov with discrepancy, its share of |Z|."),
]
_Tail = Annotated[
    str,
    typer.Option(help="In series at low frequencies: none, capacitor, cpe, warburg, warburg-open; auto chooses."),
]
_Sign = Annotated[str, typer.Option(help="positive; or both, for inductive loops and negative resistances.")]
_Kernel = Annotated[
    str,
    typer.Option(
        help="What γ is a distribution of: relaxation; or diffusion times, transmissive-planar, "
        "transmissive-spherical, blocking-planar, blocking-spherical."
    ),
]
_Representation = Annotated[
    str,
    typer.Option(help="What γ is in: impedance, admittance, for negative resistances; or auto, for each spectrum."),
]
_Drift = Annotated[
    str,
    typer.Option(
        help="Whether cells change during a sweep: none; auto, by the time of each point; always."
        " With --along, points are placed between the states of a series."
    ),
]
_LossyInductance = Annotated[
    bool, typer.Option("--lossy-inductance", help="Model the inductance as L (jω)^m, with m below 1.")
]
_Where = Annotated[
    str | None, typer.Option(help="Which spectra: a condition on the states, like \"cell == 'C' and cycle <= 9\".")
]
_Scheduler = Annotated[
    str | None, typer.Option(help="inline, threads, processes, or the address of a Dask scheduler, tcp://….")
]


@app.command(
    epilog="Example: drt-engine invert campaign.h5 -o campaign.drt.h5 --workers 2\n\n"
    "Exit codes: 0 done, 1 done with --strict and spectra without a solution, 2 wrong use or input, 130 interrupted."
)
def invert(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File of spectra, or job file (.toml).")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File of inversions. [campaign.drt.h5]")] = None,
    method: _Method = "log-gaussian",
    along: _Along = None,
    series: _Series = None,
    level: _Level = None,
    basis: Annotated[str, typer.Option(help="Tikhonov: basis functions; gaussian, piecewise-linear, …")] = "gaussian",
    order: Annotated[int, typer.Option(help="Tikhonov: derivative whose square is penalised.", min=0, max=2)] = 1,
    part: Annotated[str, typer.Option(help="Tikhonov: part that is fitted; complex, re, im.")] = "complex",
    regularisation: _Regularisation = "evidence, gcv",
    shared: _Shared = None,
    weighting: Annotated[str, typer.Option(help="Tikhonov: weights of the data; unit, modulus, iterated.")] = "unit",
    noise: _Noise = None,
    inductance: Annotated[bool, typer.Option(help="Model a series inductance.")] = True,
    capacitance: Annotated[bool, typer.Option(help="Model a series capacitance.")] = False,
    tail: _Tail = "none",
    exponent: Annotated[float | None, typer.Option(help="n of --tail cpe, if it is known.", show_default=False)] = None,
    sign: _Sign = "positive",
    kernel: _Kernel = "relaxation",
    representation: _Representation = "impedance",
    drift: _Drift = "none",
    lossy_inductance: _LossyInductance = False,
    where: _Where = None,
    workers: Workers = 1,
    scheduler: _Scheduler = None,
    block: Annotated[int | None, typer.Option(help="Spectra in a block. [about a second's]", min=1)] = None,
    name: Annotated[str, typer.Option(help="What the inversion is called in the file.")] = "default",
    dtype: Annotated[str, typer.Option(help="How results are stored: float64, float32.")] = "float64",
    compression: Annotated[str | None, typer.Option(help="gzip; by default nothing is compressed.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what an unfinished job left.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a spectrum has no solution.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Invert every spectrum of a file into a file of distributions.

    Results are kept block by block: an interrupted job continues when the same command is given again.
    """
    # Only what the user gave: methods do not take the same settings, and a job file says what is usual.
    origins = {key: context.get_parameter_source(key) for key in context.params}
    given = {key: context.params[key] for key, origin in origins.items() if origin and origin.name != "DEFAULT"}
    wanted = _wanted(file, output, given)
    summary = _run(file, wanted)
    _say_what_was_done(summary, wanted)
    if wanted.strict and summary.failed:
        say(f"drt-engine: {count_of(summary.failed, 'spectrum has', 'spectra have')} no solution.", err=True)
        raise typer.Exit(1)


class _Wanted(NamedTuple):
    """An inversion as the command line and a job file together describe it.

    Attributes
    ----------
    source, target : Path
        File of spectra, and of inversions.
    settings : dict
        Settings of the method, and its name.
    job : dict
        What :func:`drt_engine.invert_file` takes beside them.
    strict : bool
        Whether a spectrum without a solution is an error.
    """

    source: Path
    target: Path
    settings: dict[str, Any]
    job: dict[str, Any]
    strict: bool

    @property
    def name(self) -> str:
        """What the inversion is called in the file."""
        return str(self.job.get("name", "default"))


def _wanted(file: Path, output: Path | None, given: dict[str, Any]) -> _Wanted:
    """Put the options that were given over those of a job file, if `file` is one."""
    from drt_engine.errors import UnknownNameError

    source, target, settings, job = file, output, {}, {}
    if file.suffix.lower() == ".toml":
        from drt_engine.jobs.job_file import read_job

        found = read_job(file)
        source, settings, job = found.input, found.method, found.job
        target = output or found.output
    if "method" in given:
        if given["method"] not in _METHODS:
            raise UnknownNameError("method", given["method"], _METHODS)
        settings["name"] = _METHODS[given["method"]]
    settings |= {key: given[key] for key in _METHOD if key in given}
    if given.get("lossy_inductance"):
        settings["inductance"] = "cpe"
    job |= {key: given[key] for key in _JOB if key in given}
    strict = job.pop("strict", False)
    # A folder such as "." has no name to change; the job refuses it.
    target = target or (source.with_suffix(".drt.h5") if source.name else Path(f"{source}.drt.h5"))
    return _Wanted(source, target, settings, job, strict)


def _run(file: Path, wanted: _Wanted) -> "JobSummary":
    """Run the job; Ctrl-C ends it with the exit code that is usual for it."""
    from drt_engine.errors import JobInterrupted
    from drt_engine.outputs import check_outputs

    check_outputs(overwrite=True, inputs=(file,), hdf5=(wanted.target,))
    try:
        return inverted(wanted.source, wanted.target, _method(wanted.settings), **wanted.job)
    except JobInterrupted as stop:
        say(f"drt-engine: {stop}", err=True)
        raise typer.Exit(_INTERRUPTED) from stop
    except KeyboardInterrupt as stop:
        say("drt-engine: interrupted before a block was done; nothing is lost.", err=True)
        raise typer.Exit(_INTERRUPTED) from stop


def _say_what_was_done(summary: "JobSummary", wanted: _Wanted) -> None:
    from drt_engine.hdf5 import scan

    say_what_became_of(summary)
    grids = [one.grid for one in scan(summary.path).inversions if one.name == wanted.name]
    say(*(f"  {line}" for line in quality(summary.path, wanted.name, grids)))
    say(f"  {summary.path}")
    if wanted.settings.get("name", "LogGaussian") != "LogGaussian":
        return
    along = wanted.settings.get("along")
    if along is None:
        say_what_along_would_do(summary.path, wanted.name)
    else:
        say_series(
            summary.path, wanted.name, [along] if isinstance(along, str) else along, wanted.settings.get("series")
        )


def _method(settings: dict[str, Any]) -> Any:
    from drt_engine.errors import InputError
    from drt_engine.methods import method_from_settings

    settings = {"name": "LogGaussian"} | settings
    if settings["name"] == "LogGaussian" and (others := sorted({*settings} & _OF_TIKHONOV)):
        raise InputError(f"{', '.join(others)}: no setting of log-gaussian. Leave it out, or choose --method tikhonov.")
    if settings["name"] == "Tikhonov" and (others := sorted({*settings} & _OF_LOG_GAUSSIAN)):
        raise InputError(f"{', '.join(others)}: no setting of tikhonov. Choose --method log-gaussian for it.")
    if isinstance(shared := settings.get("shared"), str):
        settings["shared"] = shared == "all" or (shared.split(",") if "," in shared else shared)
    elif shared is None:
        settings.pop("shared", None)
    for key in ("regularisation", "noise"):
        if isinstance(settings.get(key), str):
            with suppress(ValueError):
                settings[key] = float(settings[key])
    return method_from_settings(settings)
