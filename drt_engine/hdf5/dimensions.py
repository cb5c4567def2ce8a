"""Dimensions of a group, as netCDF has them: dimension scales that datasets are attached to."""

from collections.abc import Collection
from typing import Any

__all__ = ["Dimensions"]

# What netCDF calls a dimension without a variable.
_BARE = "This is a netCDF dimension but not a netCDF variable. %10d"
_BARE_DTYPE = ">f4"


class Dimensions:
    """The dimensions of a group that is being written.

    Parameters
    ----------
    group : h5py.Group
        The group.
    taken : collection of str
        Names of its datasets, which dimensions of text keep clear of.
    """

    def __init__(self, group: Any, taken: Collection[str]) -> None:
        self._group, self._taken = group, frozenset(taken)
        self._scales: dict[str, Any] = {}
        self._of_text: dict[str, str] = {}

    @classmethod
    def of(cls, group: Any, rows: str, datasets: Collection[str], text: Collection[str]) -> "Dimensions | None":
        """Read the dimensions of an existing group, so that its rows and its text can grow.

        Parameters
        ----------
        group : h5py.Group
            The group.
        rows : str
            Its dimension that counts rows.
        datasets : collection of str
            Names of those that have it first.
        text : collection of str
            Those of them that hold text as characters.

        Returns
        -------
        Dimensions or None
            None where they are not as this package writes them.
        """
        found = cls(group, datasets)
        if rows not in group or group[rows].maxshape != (None,) or not group[rows].is_scale:
            return None
        found._scales[rows] = group[rows]
        for name in datasets:
            dataset = group[name]
            if dataset.maxshape is None or dataset.maxshape[0] is not None or dataset.chunks is None:
                return None
            if name in text:
                scales = dataset.dims[1].values() if dataset.ndim == 2 else []
                attached = [scale.name.rsplit("/", 1)[-1] for scale in scales]
                if len(attached) != 1 or attached[0] not in group:
                    return None
                found._of_text[name] = attached[0]
                found._scales[attached[0]] = group[attached[0]]
        return found

    def size(self, name: str) -> int:
        """Length of a dimension."""
        return int(self._scales[name].shape[0])

    def add(self, dataset: Any, name: str) -> None:
        """Make a dataset the values of a dimension."""
        dataset.make_scale(name)
        self._scales[name] = dataset

    def add_bare(self, name: str, size: int, chunk: int | None = None) -> None:
        """Make a dimension without values; with a chunk it can grow without limit."""
        options: dict[str, Any] = {} if chunk is None else {"maxshape": (None,), "chunks": (chunk,)}
        scale = self._group.create_dataset(name, (size,), _BARE_DTYPE, **options)
        scale.make_scale(_BARE % size)
        self._scales[name] = scale

    def resize(self, name: str, size: int) -> None:
        """Change the length of a dimension that can grow."""
        self._scales[name].resize(size, axis=0)

    def attach(self, dataset: Any, axis: int, name: str) -> None:
        """Give an axis of a dataset its dimension."""
        dataset.dims[axis].label = name
        dataset.dims[axis].attach_scale(self._scales[name])

    def set_width(self, dataset: Any, name: str, width: int) -> None:
        """Give the second axis of a text dataset the dimension ``string<width>``, and it alone, and resize it to that.

        Parameters
        ----------
        dataset : h5py.Dataset
            The dataset.
        name : str
            Its name.
        width : int
            Bytes of its longest text.
        """
        before, after = self._of_text.get(name), self._text_dimension(width)
        if after not in self._scales:
            self.add_bare(after, width)
        dataset.resize(width, axis=1)
        if before is not None:
            dataset.dims[1].detach_scale(self._scales[before])
        self.attach(dataset, 1, after)
        self._of_text[name] = after
        if before is not None and before not in self._of_text.values():
            del self._group[before], self._scales[before]

    def _text_dimension(self, width: int) -> str:
        name = f"string{width}"
        while name in self._taken:
            name += "_"
        return name
