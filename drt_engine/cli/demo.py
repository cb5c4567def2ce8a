"""``drt-engine demo``: everything once, on simulated data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drt_engine.cli.app import Overwrite, Workers, app, for_spreadsheets, say, show_table
from drt_engine.cli.running import inverted, say_what_became_of

if TYPE_CHECKING:
    from drt_engine.result import Inversion

__all__ = ["demo"]


@app.command(epilog="Example: drt-engine demo --output demo")
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path("demo"),
    workers: Workers = 1,
    voltages: Annotated[int, typer.Option(help="Voltages along each charge and discharge.", min=2)] = 24,
    seed: Annotated[int, typer.Option(help="Seed of the noise.", min=0)] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Simulate a campaign of two all-solid-state cells, invert it and draw it."""
    from drt_engine.hdf5 import read_inversion, write_spectra
    from drt_engine.methods import LogGaussian
    from drt_engine.outputs import check_outputs, new_file
    from drt_engine.plotting import CompositeView, composite, save
    from drt_engine.simulate import CampaignDesign, campaign

    output.mkdir(parents=True, exist_ok=True)
    files = {name: output / name for name in ("campaign.h5", "profile.csv", "campaign.drt.h5", "evolution.png")}
    files["evolution.pdf"] = output / "evolution.pdf"
    spectra, inversions = files["campaign.h5"], files["campaign.drt.h5"]
    rest = [path for path in files.values() if path not in (spectra, inversions)]
    check_outputs(*rest, overwrite=overwrite, hdf5=(spectra, inversions))
    simulated = campaign(CampaignDesign(voltages=voltages, seed=seed))
    write_spectra(spectra, simulated.spectra, overwrite=overwrite)
    with new_file(files["profile.csv"], overwrite=overwrite) as partial:
        for_spreadsheets(simulated.profile).to_csv(partial, index=False)
    job = {"workers": workers, "overwrite": overwrite, "restart": True}
    summary = inverted(spectra, inversions, LogGaussian(along="voltage"), **job)
    result = read_inversion(inversions)
    cycles = result.states["cycle"]
    figure = composite(
        simulated.spectra,
        result,
        simulated.profile,
        at={"cycle": int(cycles.min()), "direction": "discharge"},
        view=CompositeView("waterfall"),
    )
    for name in ("evolution.png", "evolution.pdf"):
        save(figure, files[name], overwrite=overwrite)
    _show_campaign(result, simulated.r_pol)
    say_what_became_of(summary)
    say(*(f"  {path}" for path in files.values()))


def _show_campaign(result: "Inversion", true_r_pol: Any) -> None:
    headings = ("cell", "cycle", "R_inf / Ω", "R_pol / Ω", "true R_pol / Ω", "residual / %")
    frame = result.states.assign(
        r_inf=result.r_inf,
        r_pol=result.r_pol,
        truth=true_r_pol,
        residual=100 * result.residual,
    )
    chosen = frame[frame["cycle"].isin([frame["cycle"].min(), frame["cycle"].max()])]
    means = chosen.groupby(["cell", "cycle"])[["r_inf", "r_pol", "truth", "residual"]].mean()
    rows = [
        (row["cell"], row["cycle"], *(f"{row[name]:.2f}" for name in ("r_inf", "r_pol", "truth", "residual")))
        for _, row in means.reset_index().iterrows()
    ]
    show_table(headings, rows, left=["cell"], title="Mean over the voltages of each cycle")
