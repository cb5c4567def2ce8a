"""``drt-engine clean``: which points of a campaign are left out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from drt_engine.cli.app import Grid, Where, app, for_spreadsheets, input_error, say
from drt_engine.text import count_of

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

    from drt_engine.validation import Cleaning

__all__ = ["clean"]

_NEAR = 0.01  # a frequency without a range means those within one per cent of it, as --drop says


@app.command(
    epilog="Example: drt-engine clean campaign.h5 --frequency-range 0.02:1e5 --drop 49:51 --outliers\n\n"
    "And back: drt-engine clean campaign.h5 --undo"
)
def clean(
    file: Annotated[Path, typer.Argument(help="File of spectra.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Copy of the file with the mask; by default the file has it.")
    ] = None,
    frequency_range: Annotated[
        str | None, typer.Option(help="Lowest and highest frequency that stay, Hz: '0.02:1e5', ':1e5', '0.02:'.")
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(help="Frequencies that go, Hz: '49:51', or '50' ± 1 %; may be given several times."),
    ] = None,
    inductive_tail: Annotated[
        bool, typer.Option("--inductive-tail", help="The highest frequencies go, down to the first with Im Z < 0.")
    ] = False,
    outliers: Annotated[
        bool, typer.Option("--outliers", help="Points go that the Kramers-Kronig test finds to be off.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Nothing is left out any more.")] = False,
    where: Where = None,
    grid: Grid = None,
    record: Annotated[Path | None, typer.Option(help="Table of the points that go now, csv.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the table if it is there.")] = False,
) -> None:
    """Leave points of a campaign out, or take them in again.

    Measured values stay in the file; a mask beside them says which points are left out, and why. Every command that
    reads the file follows it. What was left out before stays so, until --undo.
    """
    import pandas as pd

    from drt_engine.hdf5 import mask_points, scan
    from drt_engine.outputs import check_outputs, new_file
    from drt_engine.validation import Cleaning

    asked = frequency_range is not None or bool(drop) or inductive_tail or outliers
    if asked == undo:
        raise input_error(
            "say what is to be left out, by --frequency-range, --drop, --inductive-tail or --outliers, or else --undo."
        )
    check_outputs(record, overwrite=True, inputs=(file,), hdf5=(output,))
    check_outputs(record, overwrite=overwrite)
    check_outputs(overwrite=False, hdf5=(output,))
    span: Any = None if frequency_range is None else _range("--frequency-range", frequency_range)
    bands = [_band(text) for text in drop or ()]
    cleaning = Cleaning(frequency_range=span, bands=bands, inductive_tail=inductive_tail, outliers=outliers)
    names = [info.grid for info in scan(file).spectra] if grid is None else [grid]
    cleaned = {name: _cleaned(file, name, where, None if undo else cleaning) for name in names}
    _warn_of_unmeasured(bands, [one.frequency for one in cleaned.values()])
    mask_points(file, {name: one.mask for name, one in cleaned.items()}, out=output)
    records = [table for one in cleaned.values() for table in one.records]
    table = pd.concat(records, ignore_index=True) if records else pd.DataFrame()
    _say_what_changed(cleaned.values(), table, undo)
    if record is not None:
        with new_file(record, overwrite=overwrite, inputs=(file,)) as partial:
            for_spreadsheets(table).to_csv(partial, index=False)
        say(f"  {record}")
    say(f"  {file if output is None else output}")


def _warn_of_unmeasured(bands: list[tuple[float, float]], frequencies: list[Any]) -> None:
    """Warn of ranges to be dropped in which no spectrum of the file has a frequency."""
    for low, high in sorted(set(bands)):
        if not any(((frequency >= low) & (frequency <= high)).any() for frequency in frequencies):
            say(f"--drop: no frequency between {low:.4g} and {high:.4g} Hz was measured; name a wider range.", err=True)


def _say_what_changed(cleaned: "Collection[_Cleaned]", table: "pd.DataFrame", undo: bool) -> None:
    changed = sum(one.changed for one in cleaned)
    left = sum(int((one.mask != 0).sum()) for one in cleaned)
    if undo:
        say(f"{count_of(changed, 'point')} taken in again; {count_of(left, 'is', 'are')} left out.")
        return
    counts: dict[Any, int] = table["reason"].value_counts().to_dict() if len(table) else {}
    why = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"
    say(f"{count_of(changed, 'point')} left out now ({why}); {left} in all. --undo takes them in again.")


class _Cleaned(NamedTuple):
    """One grid: which points are left out, how many of these are new, how many came back, and the record of it."""

    frequency: Any
    mask: Any
    changed: int
    records: "list[pd.DataFrame]"


def _cleaned(file: Path, grid: str, where: str | None, cleaning: "Cleaning | None") -> _Cleaned:
    """Clean some spectra of a grid; without a `cleaning`, none of their points is left out."""
    import numpy as np

    from drt_engine.hdf5 import read_spectra
    from drt_engine.selection import rows_where
    from drt_engine.validation import clean as cleaned_of

    before, raw = read_spectra(file, grid), read_spectra(file, grid, masked=False)
    rows = np.arange(len(raw)) if where is None else rows_where(raw.states, where)
    mask = np.where(np.isnan(before.impedance) & ~np.isnan(raw.impedance), _codes(file, grid), 0).astype(np.uint8)
    changed, records = 0, []
    if cleaning is None:
        changed = int(np.count_nonzero(mask[rows]))
        mask[rows] = 0
    elif rows.size:
        found = cleaned_of(before[rows], cleaning)
        mask[rows] |= found.mask()
        changed = len(found.record)
        records = [found.record.assign(spectrum=rows[found.record["spectrum"].to_numpy(dtype=int)], grid=grid)]
    _warn_of_few(grid, before.impedance, raw.impedance, mask)
    return _Cleaned(raw.frequency, mask, changed, records)


def _codes(file: Path, grid: str) -> Any:
    """Return why points are left out already."""
    import numpy as np

    from drt_engine.hdf5.reader import opened_grid

    with opened_grid(file, grid, ()) as reader:
        if not reader.has("point_mask"):
            return 0
        return reader.read("point_mask")[:, np.argsort(-reader.read("frequency"), kind="stable")]


def _warn_of_few(name: str, before: Any, raw: Any, mask: Any) -> None:
    import numpy as np

    from drt_engine.spectra import MIN_POINTS

    points = np.count_nonzero(np.isfinite(raw) & (mask == 0), axis=1)
    few = np.flatnonzero((points < MIN_POINTS) & (np.count_nonzero(np.isfinite(before), axis=1) >= MIN_POINTS))
    if few.size:
        say(
            f"{name}: {count_of(few.size, 'spectrum has', 'spectra have')} fewer than {MIN_POINTS} points now (first "
            f"in row {few[0]}), which is too few for a distribution. --undo takes them in again.",
            err=True,
        )


def _range(option: str, text: str) -> tuple[float | None, float | None]:
    low, colon, high = (part.strip() for part in text.partition(":"))
    try:
        if not colon:
            raise ValueError
        return float(low) if low else None, float(high) if high else None
    except ValueError:
        raise input_error(
            f"{option} must be two frequencies in Hz with a colon between them, like 0.02:1e5; got {text!r}."
        ) from None


def _band(text: str) -> tuple[float, float]:
    if ":" in text:
        low, high = _range("--drop", text)
        return 0.0 if low is None else low, float("inf") if high is None else high
    try:
        at = float(text)
    except ValueError:
        raise input_error(f"--drop must be a frequency in Hz, or two like 49:51; got {text!r}.") from None
    return (1.0 - _NEAR) * at, (1.0 + _NEAR) * at
