"""From instrument files to a campaign that can be explored, in a folder that is gone in the end unless it is saved."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from drt_engine.errors import InputError
from drt_engine.hdf5 import add_spectra, read_spectra, scan
from drt_engine.jobs import invert_file
from drt_engine.methods import Method
from drt_engine.outputs import check_outputs, new_file
from drt_engine.readers import ReadOptions
from drt_engine.readers.collect import Collected, CollectOptions, collect
from drt_engine.text import count_of
from drt_engine.validation import validate

__all__ = ["Imported", "Told"]

# Bytes of a file name: most file systems allow 255.
_SAFE_LENGTH = 200


@dataclass(frozen=True)
class Told:
    """What the files do not say of themselves.

    Attributes
    ----------
    name : str
        Pattern of the file names, as ``--name`` of ``drt-engine import`` takes it; empty for none.
    columns : str
        Columns of plain tables, as ``--columns`` takes them; empty if they have headings.
    cell : str
        Cell of all spectra; empty if the files say it.
    area : float or None
        Electrode area of all, cm².
    """

    name: str = ""
    columns: str = ""
    cell: str = ""
    area: float | None = None


@dataclass
class Imported:
    """A campaign that is made from files, step by step.

    Attributes
    ----------
    collected : Collected or None
        What was read.
    validity : DataFrame or None
        What is wrong with the spectra, one row each.
    """

    collected: Collected | None = None
    validity: pd.DataFrame | None = None
    _folder: Any = field(default_factory=tempfile.TemporaryDirectory, repr=False)

    @property
    def spectra(self) -> Path:
        """File of the spectra."""
        return Path(self._folder.name) / "campaign.h5"

    @property
    def results(self) -> Path:
        """File of the inversions."""
        return Path(self._folder.name) / "campaign.drt.h5"

    def received(self, files: Mapping[str, bytes | str]) -> list[Path]:
        """Write files that came through the browser into a folder, under their own names.

        Parameters
        ----------
        files : mapping of str to bytes or str
            Content by name; of a name nothing but its last part counts.
        """
        folder = Path(self._folder.name) / "received"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        written = []
        for name, content in files.items():
            last = name.replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "")
            if last in ("", ".", "..") or len(os.fsencode(last)) > _SAFE_LENGTH:
                raise InputError(f"{name!r} is not a file name. Rename it.")
            path = folder / last
            # Text comes decoded from UTF-8, which loses nothing.
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            written.append(path)
        return written

    def read(self, paths: Iterable[Path], told: Told) -> Collected:
        """Read files and folders, and write the spectra.

        Raises
        ------
        InputError
            If there is no spectrum in them, and as :func:`drt_engine.collect` does.
        """
        paths = list(paths)
        for path in paths:
            if not path.exists():
                raise InputError(f"{path}: there is no such file or folder. Check its name.")
        constants: dict[str, object] = {"cell": told.cell or None, "area": told.area}
        options = CollectOptions(
            reading=ReadOptions(told.columns or None),
            name=told.name or None,
            constants={key: value for key, value in constants.items() if value is not None},
        )
        self.collected = found = collect(paths, options)
        if not len(found):
            raise InputError(f"no spectrum was found in {count_of(len(found.files), 'file')}. The report says why.")
        add_spectra(self.spectra, dict(found.spectra), keep=False, overwrite=True)
        self.validity = self._validated()
        return found

    def report(self) -> pd.DataFrame:
        """Return what became of each file."""
        return pd.DataFrame() if self.collected is None else self.collected.report()

    def summary(self) -> str:
        """Say in a line how many files and spectra there are."""
        if self.collected is None:
            return ""
        counts = Counter(one.status for one in self.collected.files)
        said = ", ".join(f"{count} {status}" for status, count in counts.items())
        files, spectra = len(self.collected.files), len(self.collected)
        return f"{count_of(files, 'file')} ({said}); {count_of(spectra, 'spectrum')}"

    def _validated(self) -> pd.DataFrame:
        grids = [info.grid for info in scan(self.spectra).spectra]
        found = [validate(read_spectra(self.spectra, grid)).to_frame().assign(grid=grid) for grid in grids]
        return pd.concat(found, ignore_index=True)

    def invert(self, method: Method, progress: Callable[[int, int, Mapping[str, int]], None]) -> Any:
        """Invert all spectra; `progress` is called as :func:`drt_engine.invert_file` calls it."""
        return invert_file(self.spectra, self.results, method=method, overwrite=True, restart=True, progress=progress)

    def save(self, path: Path) -> list[Path]:
        """Save spectra and inversions under names that no file has yet: ``x.h5`` and ``x.drt.h5``.

        Returns
        -------
        list of Path
            What was written.

        Raises
        ------
        OutputExistsError
            If one of them exists.
        InputError
            For a name that does not end in ``.h5``.
        FileWriteError
            If it cannot be written.
        """
        if path.suffix != ".h5" or path.name.endswith(".drt.h5"):
            raise InputError(f"the campaign must have a name that ends in .h5; got {path.name!r}.")
        pairs = [(self.spectra, path)]
        if self.results.exists():
            pairs.append((self.results, path.with_suffix(".drt.h5")))
        check_outputs(*(target for _, target in pairs), overwrite=False, inputs=[source for source, _ in pairs])
        for source, target in pairs:
            with new_file(target, overwrite=False, inputs=(source,)) as partial:
                shutil.copyfile(source, partial)
        return [target for _, target in pairs]

    def close(self) -> None:
        """Remove what was not saved."""
        self._folder.cleanup()
