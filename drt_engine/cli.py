"""The command line: demo, info, invert, plot."""

import json
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from matplotlib.figure import Figure

    from drt_engine.hdf5 import Contents, JobSummary
    from drt_engine.result import Inversion
    from drt_engine.spectra import Spectra

__all__ = ["app", "main"]

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


class Kind(StrEnum):
    """Figures that ``plot`` draws."""

    COMPOSITE = "composite"
    NYQUIST = "nyquist"
    BODE = "bode"
    RESIDUALS = "residuals"
    GAMMA = "gamma"
    WATERFALL = "waterfall"
    HEAT_MAP = "heat-map"


def main() -> None:
    """Run the command line; an error that the engine raises on purpose is one line and exit code 2."""
    from drt_engine.errors import DRTError

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    # One summary line says what failed; a line a block would drown it.
    logging.getLogger("drt_engine.inversion").setLevel(logging.ERROR)
    try:
        app()
    except DRTError as error:
        typer.echo(f"drt-engine: {error}", err=True)
        sys.exit(2)


@app.command(epilog="Example: drt-engine demo --output demo")
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path("demo"),
    workers: Workers = 1,
    voltages: Annotated[int, typer.Option(help="Voltages along each charge and discharge.", min=2)] = 24,
    seed: Annotated[int, typer.Option(help="Seed of the noise.", min=0)] = 0,
) -> None:
    """Simulate a campaign of two all-solid-state cells, invert it and draw it."""
    from drt_engine.hdf5 import read_inversion, write_spectra
    from drt_engine.methods import Tikhonov
    from drt_engine.plotting import CompositeView, composite, save
    from drt_engine.simulate import CampaignDesign, campaign

    output.mkdir(parents=True, exist_ok=True)
    files = {name: output / name for name in ("campaign.h5", "profile.csv", "campaign.drt.h5", "evolution.png")}
    files["evolution.pdf"] = output / "evolution.pdf"
    simulated = campaign(CampaignDesign(voltages=voltages, seed=seed))
    write_spectra(files["campaign.h5"], simulated.spectra, overwrite=True)
    simulated.profile.to_csv(files["profile.csv"], index=False)
    # One λ for each cell: what changes from voltage to voltage is the cell, never the smoothing.
    method = Tikhonov(shared="cell")
    summary = _inverted(files["campaign.h5"], files["campaign.drt.h5"], method, workers, overwrite=True)
    result = read_inversion(files["campaign.drt.h5"])
    cycles = result.states["cycle"]
    figure = composite(
        simulated.spectra,
        result,
        simulated.profile,
        at={"cycle": int(cycles.min()), "direction": "discharge"},
        view=CompositeView("waterfall"),
    )
    for name in ("evolution.png", "evolution.pdf"):
        save(figure, files[name])
    _console().print(_campaign_table(result, simulated.r_pol))
    _say_what_became_of(summary)
    for path in files.values():
        typer.echo(f"  {path}")


@app.command(epilog="Example: drt-engine info campaign.h5")
def info(
    file: Annotated[Path, typer.Argument(help="File of spectra or of inversions.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Say what is in a file: grids, states, statuses and where it comes from."""
    from drt_engine.hdf5 import scan

    contents = _described(scan(file))
    if as_json:
        typer.echo(json.dumps({"file": file.name} | contents, indent=2))
        return
    from rich.tree import Tree

    tree = Tree(f"{file.name}, format version {contents['format_version']}", highlight=True)
    for kind in ("spectra", "inversions"):
        for group in contents[kind]:
            branch = tree.add(f"{kind}/{'/'.join(group[key] for key in ('name', 'grid') if key in group)}")
            for key, value in group.items():
                if key not in ("name", "grid"):
                    branch.add(f"{key.replace('_', ' ')}: {_plain(value)}")
    _console().print(tree)


@app.command(epilog="Example: drt-engine invert campaign.h5 -o campaign.drt.h5 --workers 2")
def invert(
    file: Annotated[Path, typer.Argument(help="File of spectra.")],
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
    workers: Workers = 1,
    overwrite: Overwrite = False,
) -> None:
    """Invert every spectrum of a file into a file of distributions."""
    from drt_engine.methods import method_from_settings

    try:
        strength: float | str = float(regularisation)
    except ValueError:
        strength = regularisation
    method = method_from_settings(
        {
            "name": "Tikhonov",
            "basis": basis,
            "order": order,
            "part": part,
            "regularisation": strength,
            "shared": shared == "all" or (shared.split(",") if shared else False),
            "weighting": weighting,
            "noise": noise,
            "inductance": inductance,
            "capacitance": capacitance,
        }
    )
    out = file.with_suffix(".drt.h5") if output is None else output
    summary = _inverted(file, out, method, workers, overwrite=overwrite)
    _say_what_became_of(summary)
    typer.echo(f"  {summary.path}")


@app.command(
    epilog="Example: drt-engine plot campaign.drt.h5 --where \"cell == 'C' and cycle == 1 and direction == 'charge'\""
)
def plot(
    file: Annotated[Path, typer.Argument(help="File of inversions.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Figure; its ending is its format.")] = Path("drt.pdf"),
    kind: Annotated[Kind, typer.Option(help="What to draw.")] = Kind.WATERFALL,
    spectra: Annotated[Path | None, typer.Option(help="File of the spectra, for the kinds that show them.")] = None,
    state: Annotated[str, typer.Option(help="State that the spectra are drawn over or coloured by.")] = "voltage",
    where: Annotated[str | None, typer.Option(help="Which spectra: a condition on the states.")] = None,
    profile: Annotated[Path | None, typer.Option(help="Voltage profile, csv, for the composite.")] = None,
    name: Annotated[str | None, typer.Option(help="Inversion, if the file has several.")] = None,
    grid: Annotated[str | None, typer.Option(help="Grid, if the file has several.")] = None,
) -> None:
    """Draw a figure of the distributions in a file."""
    from drt_engine.hdf5 import read_inversion, read_spectra
    from drt_engine.plotting import save

    result = read_inversion(file, name, grid)
    measured = None if spectra is None else read_spectra(spectra, grid)
    if measured is not None and len(measured) != len(result):
        raise _input_error(f"{spectra} has {len(measured)} spectra and {file} has {len(result)} inversions.")
    if where is not None:
        rows = _rows_where(result.states, where)
        result, measured = result[rows], None if measured is None else measured[rows]
    save(_figure(kind, result, measured, state, profile), output)
    typer.echo(f"{len(result)} spectra drawn.\n  {output}")


def _figure(kind: Kind, result: "Inversion", spectra: "Spectra | None", state: str, profile: Path | None) -> "Figure":
    from drt_engine import plotting

    if kind in (Kind.GAMMA, Kind.WATERFALL, Kind.HEAT_MAP):
        draw: Callable[..., Any] = getattr(plotting, kind.value.replace("-", "_"))
        axes = draw(result, state=state)
    elif spectra is None:
        raise _input_error(f"a figure of kind {kind.value} shows measured spectra. Name their file: --spectra.")
    elif kind is Kind.COMPOSITE:
        curve = None
        if profile is not None:
            import pandas as pd

            curve = pd.read_csv(profile)
        return plotting.composite(spectra, result, curve, state=state)
    else:
        axes = getattr(plotting, kind.value)(spectra, result, state=state)
    figure: Figure = (axes[0] if isinstance(axes, tuple) else axes).figure
    return figure


def _inverted(path: Path, out: Path, method: Any, workers: int, *, overwrite: bool) -> "JobSummary":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from drt_engine.hdf5 import invert_file

    columns = (
        TextColumn("inverting"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
    )
    with Progress(*columns, console=_console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, counts="")

        def show(done: int, total: int, counts: "Mapping[str, int]") -> None:
            bar.update(task, completed=done, total=total, counts=_counted(counts))

        return invert_file(path, out, method=method, workers=workers, overwrite=overwrite, progress=show)


def _say_what_became_of(summary: "JobSummary") -> None:
    rate = summary.seconds / max(summary.spectra, 1) * 1e3
    typer.echo(f"{summary.spectra} spectra in {summary.seconds:.1f} s ({rate:.2g} ms each): {_counted(summary.counts)}")


def _campaign_table(result: "Inversion", true_r_pol: Any) -> Any:
    import numpy as np
    from rich.table import Table

    table = Table(title="Mean over the voltages of each cycle")
    for heading in ("cell", "cycle", "R_inf / Ω", "R_pol / Ω", "true R_pol / Ω", "residual / %", "λ"):
        table.add_column(heading, justify="left" if heading == "cell" else "right")
    frame = result.states.assign(
        r_inf=result.r_inf,
        r_pol=result.r_pol,
        truth=true_r_pol,
        residual=100 * result.residual,
        order=np.log10(result.regularisation),
    )
    chosen = frame[frame["cycle"].isin([frame["cycle"].min(), frame["cycle"].max()])]
    means = chosen.groupby(["cell", "cycle"])[["r_inf", "r_pol", "truth", "residual", "order"]].mean()
    for _, row in means.reset_index().iterrows():
        table.add_row(
            str(row["cell"]),
            str(row["cycle"]),
            *(f"{row[name]:.2f}" for name in ("r_inf", "r_pol", "truth", "residual")),
            f"{10 ** row['order']:.0e}",
        )
    return table


def _described(contents: "Contents") -> dict[str, Any]:
    return {
        "format_version": contents.format_version,
        "spectra": [
            {
                "grid": found.grid,
                "spectra": found.spectra,
                "frequencies": int(found.frequency.size),
                "frequency_range_hz": [float(found.frequency.min()), float(found.frequency.max())],
                "states": list(found.states),
            }
            for found in contents.spectra
        ],
        "inversions": [
            {
                "name": found.name,
                "grid": found.grid,
                "spectra": found.spectra,
                "relaxation_times": int(found.tau.size),
                "tau_range_s": [float(found.tau[0]), float(found.tau[-1])],
                "states": list(found.states),
                "counts": dict(found.counts),
                "settings": dict(found.settings),
                "versions": dict(found.versions),
                "created": found.created,
                "source": found.source,
                "input_digest": found.input_digest,
            }
            for found in contents.inversions
        ],
    }


def _rows_where(states: "pd.DataFrame", condition: str) -> Any:
    try:
        rows = states.query(condition, engine="python").index.to_numpy()
    except Exception as error:  # whatever a condition of the user's own can raise
        columns = ", ".join(map(str, states.columns)) or "none"
        raise _input_error(
            f"--where {condition!r} is no condition on the states ({columns}): {error}. Write it like "
            "\"cell == 'C' and cycle <= 100\"."
        ) from error
    if not rows.size:
        raise _input_error(f"--where {condition!r} holds for none of the {len(states)} spectra.")
    return rows


def _input_error(message: str) -> Exception:
    from drt_engine.errors import InputError

    return InputError(message)


def _counted(counts: "Mapping[str, int]") -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _console(*, stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr)
