"""``drt-engine report``: one file that says what was measured, what is wrong with it, and how it evolves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drt_engine.cli.app import InversionName, Overwrite, Where, app, input_error, say
from drt_engine.cli.summary import quality, state_lines
from drt_engine.text import count_of

if TYPE_CHECKING:
    from drt_engine.report import Contents, Remarks

__all__ = ["report"]


@app.command(
    epilog='Example: drt-engine report campaign.drt.h5 -o report.html --where "cycle <= 100"\n\n'
    "Exit codes: 0 done, 2 wrong use or input."
)
def report(
    file: Annotated[Path, typer.Argument(help="File of inversions, or of spectra.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The report.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Its heading. [name of the file]")] = None,
    along: Annotated[str | None, typer.Option(help="State along which processes are followed. [voltage, …]")] = None,
    series: Annotated[str | None, typer.Option(help="States that are equal within a series: 'cell,voltage'.")] = None,
    where: Where = None,
    name: InversionName = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a report that opens in any browser, without network: figures to zoom, tables to sort, and all settings."""
    from drt_engine.outputs import check_outputs, new_file

    check_outputs(output, overwrite=overwrite, inputs=(file,))
    try:
        import bokeh  # noqa: F401 - only whether it is there
        import jinja2  # noqa: F401 - likewise
    except ImportError as error:
        raise input_error("report needs Bokeh and Jinja: pip install 'drt-engine[report]'.") from error
    from drt_engine.report import gather, written

    apart = None if series is None else [part.strip() for part in series.split(",")]
    contents = gather(file, name=name, where=where, along=along, series=apart)
    page = written(contents, _remarks(contents), title)
    with new_file(output, overwrite=overwrite, inputs=(file,)) as partial:
        partial.write_text(page, encoding="utf-8")
    say(f"{count_of(len(contents), 'spectrum')}, {len(page.encode()) / 1e6:.1f} MB", f"  {output}")


def _remarks(contents: "Contents") -> "Remarks":
    """Return what ``info`` prints: values of states, and the quality of the solutions."""
    import pandas as pd

    from drt_engine.report import Remarks

    states = pd.concat([part.states for part in contents.parts], ignore_index=True)
    lines = state_lines(states)
    if contents.name is None or contents.where is not None:
        return Remarks(lines)
    return Remarks(lines, quality(contents.path, contents.name, [part.grid for part in contents.parts])[:1])
