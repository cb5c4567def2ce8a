"""What is opened: a campaign, or the page on which one is made."""

from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import panel as pn

from drt_engine.errors import DRTError
from drt_engine.explore.drawing import gamma_image
from drt_engine.explore.page import Explorer
from drt_engine.explore.server import Served, serve
from drt_engine.explore.session import Session
from drt_engine.explore.source import Files, Source, campaigns_in, related_files
from drt_engine.explore.widgets import loaded

if TYPE_CHECKING:
    from drt_engine.explore.importing import Imported

__all__ = ["application"]

# Seconds: a browser that runs already may ask so soon, one that has to start takes longer.
_PATIENCE = 0.1


def application(
    file: Path | None,
    *,
    spectra: Path | None = None,
    processes: Path | None = None,
    profile: Path | None = None,
    port: int = 0,
) -> Served:
    """Make the server of the explorer.

    Parameters
    ----------
    file : Path or None
        File of spectra or of inversions, or a folder; None for a page where files are dropped.
    spectra, processes, profile : Path, optional
        The files that belong to it.
    port : int
        Where to listen; a free one by default.

    Raises
    ------
    DRTError
        If the files cannot be read, or have nothing to show.
    """
    loaded(files=file is None or file.is_dir())
    found = tuple(campaigns_in(file)) if file is not None and file.is_dir() else ()
    source = None
    if file is not None and not file.is_dir():
        # Opened once for all visits, and before the server says its address.
        source = Source(related_files(file, spectra, processes, profile))
    elif len(found) == 1:
        source = Source(related_files(found[0], spectra, processes, profile))
    title = "drt-engine" if source is None else f"{source.files.every[0].name} – drt-engine"
    begun: list[Session] = []
    if source is not None:
        begun.append(Session(source, measured=source.name is not None))
    imported = Event()
    pages: list[_Page] = []

    def page() -> Any:
        # Two threads that import modules of each other at the same time would wait for each other.
        imported.wait()
        pages.append(_Page(source, file, found, begun.pop() if begun else None))
        return pages[-1].body

    served = serve(page, title, port)
    # What the first page shows is read, and compiled code loaded, while the browser starts.
    Thread(target=_warmed, args=(begun, served.asked, imported), daemon=True).start()

    def close() -> None:
        for one in pages:
            one.close()

    served.at_end.append(close)
    return served


def _warmed(begun: list[Session], asked: Event, imported: Event) -> None:
    """Import what inverts, and read what the first page shows; what it shows last only while nobody has asked for it.

    What inverts is half of all that is imported; to list files and to serve a page, nothing of it is needed. A page
    that is asked for before begins with what was measured.
    """
    session = begun[0] if begun else None
    if session is not None:
        if asked.wait(_PATIENCE):
            imported.set()
            return
        session.measured = False
    try:
        import_module("drt_engine.explore.start" if session is None else "drt_engine.result")
    finally:
        imported.set()
    if session is None:
        return
    with suppress(DRTError):
        session.one(session.a)
        gamma_image(session.line(session.a))
        if not asked.is_set():
            session.validity(session.a)
        if not asked.is_set():
            session.processes(session.a)


class _Page:
    """One visit."""

    def __init__(
        self, source: Source | None, folder: Path | None, found: tuple[Path, ...], begun: Session | None
    ) -> None:
        self.body = pn.Column(sizing_mode="stretch_width")
        self._closing: list[Any] = []
        pn.state.on_session_destroyed(lambda _: self.close())
        if source is not None:
            if source.changed():
                source, begun = source.again(), None
            self._explore(source, session=begun)
        else:
            from drt_engine.explore.start import Start

            start = Start(self._inverted, folder, found, self._open)
            self._closing += [start.background.close, start.imported.close]
            self.body.append(start.panel())

    def _explore(self, source: Source, *more: Any, session: Session | None = None) -> Explorer:
        explorer = Explorer(source, more, session)
        self._closing.insert(0, explorer.background.close)
        for shown in self.body:
            # Hidden and not taken away: the field for files fails when it is removed with files in it.
            shown.visible = False
        self.body.append(explorer.panel())
        explorer.follow()
        return explorer

    def _open(self, path: Path) -> None:
        self._explore(Source(related_files(path)))

    def _inverted(self, imported: "Imported") -> None:
        from drt_engine.explore.start import SaveForm

        form = SaveForm(imported, lambda written: explorer.moved_to(Files(*written)))
        explorer = self._explore(Source(Files(imported.spectra, imported.results)), form.panel())

    def close(self) -> None:
        """Forget what only this visit had."""
        while self._closing:
            self._closing.pop(0)()
