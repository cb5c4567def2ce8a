"""The page without a campaign: files are dropped or named, read, tested and inverted."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import panel as pn

from drt_engine.errors import DRTError
from drt_engine.explore.importing import Imported, Told
from drt_engine.explore.widgets import Background, Message, MethodForm, escaped
from drt_engine.text import count_of

__all__ = ["SaveForm", "Start"]

_WIDTH = 460  # pixels, of the forms on the left
# Rows of a table on the page: a browser slows down with thousands, and nobody reads so many.
_MOST_ROWS = 300
_OWN = {"digest", "chi_square", "noise_constant", "noise_proportional", "mu", "elements"}
"""Columns of a report that say nothing to who wants to know whether a spectrum can be trusted."""


class Start:
    """Where instrument files come in.

    Parameters
    ----------
    done : callable
        Called with the campaign when it is inverted.
    folder : Path, optional
        Folder that stands in the form at first.
    found : list of Path
        Campaigns that the folder has.
    open_file : callable
        Called with one of them when it is chosen.
    """

    def __init__(
        self,
        done: Callable[[Imported], None],
        folder: Path | None = None,
        found: tuple[Path, ...] = (),
        open_file: Callable[[Path], None] | None = None,
    ) -> None:
        self._done, self._open = done, open_file
        self.imported = Imported()
        self.message = Message("", width=_WIDTH)
        self.background = Background(self.message)
        self.files = pn.widgets.FileDropper(multiple=True, previews=[], width=_WIDTH, height=170)
        self.files.param.watch(lambda _: self._arrived(), "value")
        self._wanted = False
        self.folder = pn.widgets.TextInput(
            label="or a folder or file on this computer", value="" if folder is None else str(folder), width=_WIDTH
        )
        self.cell = pn.widgets.TextInput(label="Cell, if the files do not say it", width=_WIDTH)
        self.area = pn.widgets.FloatInput(label="Electrode area / cm²", value=None, start=0.0, width=_WIDTH)
        self.name = pn.widgets.TextInput(
            label="States in file names", placeholder="EIS_{cell}_{cycle}_{voltage}V.txt", width=_WIDTH
        )
        self.columns = pn.widgets.TextInput(
            label="Columns of tables without headings", placeholder="frequency,re,-im", width=_WIDTH
        )
        self.read = pn.widgets.Button(label="Read the files", color="primary", width=_WIDTH)
        self.read.on_click(lambda _: self._read())
        self.form = MethodForm(["voltage", "cycle", "temperature", "time"])
        self.invert = pn.widgets.Button(label="Invert", color="primary", width=240, disabled=True)
        self.invert.on_click(lambda _: self._invert())
        self.progress = pn.indicators.Progress(value=0, max=100, width=240, visible=False)
        self._report = pn.pane.HTML("", sizing_mode="stretch_width")
        self._campaigns = [self._opening(path) for path in found]

    def _opening(self, path: Path) -> Any:
        button = pn.widgets.Button(label=f"Open {path.name}", width=_WIDTH)

        def clicked(_: Any) -> None:
            if self._open is not None:
                try:
                    self._open(path)
                except DRTError as error:
                    self.message.say(error, "wrong")

        button.on_click(clicked)
        return button

    def _arrived(self) -> None:
        """Say that files are here, or read them where that was asked for before they were."""
        count = len(self.files.value or {})
        if self._wanted and count:
            self._read()
        elif count:
            self.message.say(f"{count_of(count, 'file')} arrived. Read the files when all are there.")

    def _read(self) -> None:
        told = Told(self.name.value.strip(), self.columns.value.strip(), self.cell.value.strip(), self.area.value)
        try:
            paths = self.imported.received(self.files.value)
            if named := self.folder.value.strip():
                paths.append(Path(named).expanduser())
            self._wanted = not paths
            if not paths:
                # Files take a while to arrive, and the button may be pressed before.
                self.message.say("There is nothing to read yet: drop files, or name a folder.", "busy")
                return
        except DRTError as error:
            self.message.say(error, "wrong")
            return
        self.message.say("Reading and testing …", "busy")
        self.read.disabled = True

        def work() -> str:
            try:
                self.imported.read(paths, told)
            except DRTError as error:
                return str(error)
            finally:
                self.background.later(lambda: setattr(self.read, "disabled", False))
            return ""

        self.background.do("read", work, self._show_read)

    def _show_read(self, wrong: str) -> None:
        self._report.object = self._reports()
        self.invert.disabled = bool(wrong)
        self.message.say(
            wrong or f"{self.imported.summary()}. Look at the reports, then invert.", "wrong" if wrong else "said"
        )

    def _reports(self) -> str:
        parts = []
        for title, frame in (("Files", self.imported.report()), ("Validity of the spectra", self.imported.validity)):
            if frame is None or not len(frame):
                continue
            shown = frame.drop(columns=[*_OWN & {*frame.columns}]).dropna(axis="columns", how="all").head(_MOST_ROWS)
            shown = shown.copy()
            shown.columns = [escaped(name) for name in shown.columns]
            for number, kind in enumerate(shown.dtypes):
                if kind.kind not in "biuf":
                    shown.isetitem(number, [escaped(value) for value in shown.iloc[:, number]])
            more = "" if len(frame) <= _MOST_ROWS else f"<p>{_MOST_ROWS} of {len(frame):,} are shown.</p>"
            # Escaped above, control characters included.
            table = shown.to_html(index=False, escape=False, float_format="{:.3g}".format, border=0)
            parts.append(f"<h4>{title}</h4><div style='overflow-x:auto'>{table}</div>{more}")
        return "".join(parts)

    def _invert(self) -> None:
        try:
            method = self.form.chosen()
        except DRTError as error:
            self.message.say(error, "wrong")
            return
        self.invert.disabled, self.progress.visible = True, True
        self.message.say("Inverting …", "busy")

        def told(done: int, total: int, counts: Mapping[str, int]) -> None:
            share = int(100 * done / total) if total else 0
            self.background.later(lambda: setattr(self.progress, "value", share))
            said = f"Inverting: {done} of {total}; {', '.join(f'{count} {name}' for name, count in counts.items())}"
            self.background.later(lambda: self.message.say(said, "busy"))

        def work() -> Any:
            try:
                return self.imported.invert(method, told)
            finally:
                self.background.later(self._inverted)

        self.background.do("invert", work, lambda _: self._done(self.imported))

    def _inverted(self) -> None:
        self.invert.disabled, self.progress.visible = False, False

    def panel(self) -> Any:
        """Return the page."""
        left = pn.Column(
            pn.pane.HTML("<h2>drt-engine</h2><b>1. Drop the files of the instrument here</b>", width=_WIDTH),
            *self._campaigns,
            self.files,
            self.folder,
            pn.Card(
                self.cell,
                self.area,
                self.name,
                self.columns,
                title="What the files do not say",
                collapsed=True,
                width=_WIDTH,
                margin=(5, 10),
            ),
            self.read,
            self.message,
            pn.pane.HTML("<b>2. Invert</b>"),
            pn.Card(self.form.panel(), title="Method", collapsed=True, width=_WIDTH, margin=(5, 10)),
            self.invert,
            self.progress,
            width=_WIDTH + 10,
        )
        return pn.Row(left, self._report, sizing_mode="stretch_width")


class SaveForm:
    """Where a campaign that was imported is saved.

    Parameters
    ----------
    imported : Imported
        The campaign.
    done : callable
        Called with the files that were written.
    """

    def __init__(self, imported: Imported, done: Callable[[list[Path]], None]) -> None:
        self._imported, self._done = imported, done
        self._note = pn.pane.HTML("<small>Not saved yet: it is gone when the page is closed.</small>", width=260)
        self.message = Message("", width=260)
        self.path = pn.widgets.TextInput(label="Save as", value=str(Path.cwd() / "campaign.h5"), width=250)
        self.button = pn.widgets.Button(label="Save campaign", color="success", width=250)
        self.button.on_click(lambda _: self._save())

    def _save(self) -> None:
        try:
            written = self._imported.save(Path(self.path.value.strip()).expanduser())
        except DRTError as error:
            self.message.say(error, "wrong")
            return
        self._note.visible = False
        self.message.say(f"Saved: {', '.join(path.name for path in written)}")
        self._done(written)

    def panel(self) -> Any:
        """Return the form."""
        return pn.Column(self._note, self.path, self.button, self.message, margin=0)
