"""The explorer in a browser: what a person clicks, sees and saves."""

import asyncio
import json
import re
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.explore import widgets
from drt_engine.explore.server import _SCRIPTS
from drt_engine.simulate import CampaignDesign, campaign

# Bokeh turns frames into columns in a way that pandas is about to give up.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame:FutureWarning"),
]

HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>\"'\x1b[31m$$\\frac{1}{2}$$"

# Where a place in a figure is on the screen, and whether an ohm is as long on one axis as on the other.
PLACE = """([name, x, y]) => {
  const seen = [...Bokeh.index.query((view) => view.model.name === name)];
  const view = seen.find((one) => one.model.type === 'Figure' || one.frame !== undefined);
  const box = view.canvas_view.el.getBoundingClientRect();
  return [box.x + view.frame.x_scale.compute(x), box.y + view.frame.y_scale.compute(y)];
}"""
SCALES = """(name) => {
  const view = [...Bokeh.index.query((view) => view.model.name === name)].find((one) => one.frame !== undefined);
  const {x_range, y_range, bbox} = view.frame;
  return [(x_range.end - x_range.start) / bbox.width, (y_range.end - y_range.start) / bbox.height];
}"""
DATA = """(name) => {
  const found = Bokeh.documents[0].get_model_by_name(name);
  return JSON.stringify(Object.fromEntries([...Object.entries(found.data)].map(([k, v]) => [k, [...v].map((a) =>
    typeof a === 'object' ? [...a] : a)])));
}"""


@contextmanager
def served(file=None):
    """The application in a thread, as its own process would run it."""
    from drt_engine.explore.open import application

    ready, found = threading.Event(), []

    def run():
        try:
            found.append(application(file))
        finally:
            ready.set()
        found[0].run()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(60)
    yield found[0].address
    found[0].stop()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small campaign of two cells at two cycles, inverted."""
    folder = tmp_path_factory.mktemp("campaign")
    made = campaign(CampaignDesign(cycles=(1, 500), voltages=4, frequencies=31))
    drt.write_spectra(folder / "campaign.h5", made.spectra)
    made.profile.to_csv(folder / "profile.csv", index=False)
    method = drt.LogGaussian(noise="proportional")
    drt.invert_file(folder / "campaign.h5", folder / "campaign.drt.h5", method=method)
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with served(folder / "campaign.drt.h5") as address:
        yield address


@pytest.fixture
def explorer(page, address):
    page.goto(address)
    page.get_by_text("A: cell B, cycle 1").wait_for()
    # What comes later is there as well.
    page.wait_for_function("() => Bokeh.documents[0].get_model_by_name('observed')?.data.x.length > 0")
    return page


def data(page, name):
    return {key: np.array(value, dtype=object) for key, value in json.loads(page.evaluate(DATA, name)).items()}


def until(page, name, key, expected, place=0):
    """Wait until a view shows some numbers: views follow one after the other."""
    for _ in range(200):
        shown = data(page, name)[key]
        if len(shown) > place:
            shown = np.asarray(shown[place] if np.ndim(shown[place]) else shown, dtype=float)
            if shown.shape == np.shape(expected) and np.allclose(shown, expected, rtol=1e-12, equal_nan=True):
                return
        page.wait_for_timeout(200)
    raise AssertionError(f"{name} never showed what it should")


def click(page, figure, x, y):
    page.mouse.click(*page.evaluate(PLACE, [figure, float(x), float(y)]))


def saved(page, button, path):
    with page.expect_download() as found:
        page.get_by_role("link", name=button).or_(page.get_by_role("button", name=button)).first.click()
    found.value.save_as(path)
    return path


def test_a_voltage_is_clicked_and_all_views_change_and_are_exported(explorer, folder, shoot, tmp_path, monkeypatch):
    result = drt.read_inversion(folder / "campaign.drt.h5")
    shoot("explore-first")
    places = data(explorer, "places")
    click(explorer, "profile", places["x"][2], places["y"][2])
    explorer.get_by_text(re.compile(r"A: cell B, cycle 1, charge, voltage 3.8667")).wait_for()
    until(explorer, "gammas", "y", result.gamma[2])
    until(explorer, "points", "x", result.impedance[2].real)
    until(explorer, "points", "y", -result.impedance[2].imag)
    band = result[2].with_intervals().intervals
    until(explorer, "bands", "y", [*band.gamma_low[0], *band.gamma_high[0][::-1]])
    across, up = explorer.evaluate(SCALES, "nyquist")
    assert across == pytest.approx(up, rel=0.02)
    assert explorer.get_by_text("voltage: 3.8667 (3 of 4)").is_visible()
    # And from the map.
    click(explorer, "map_a", -2.0, 2.2)
    explorer.get_by_text(re.compile(r"A: cell B, cycle 1, charge, voltage 2.2 ")).wait_for()
    # That is the spectrum of the beginning. The slider goes on from there, also to where it was left before.
    slider = explorer.locator(".noUi-handle").first
    slider.press("End")
    explorer.get_by_text(re.compile("A: cell B, cycle 1, charge, voltage 4.7")).wait_for()
    explorer.wait_for_timeout(500)
    click(explorer, "map_a", -2.0, 2.2)
    explorer.get_by_text(re.compile("A: cell B, cycle 1, charge, voltage 2.2 ")).wait_for()
    slider.press("End")
    explorer.get_by_text(re.compile("A: cell B, cycle 1, charge, voltage 4.7")).wait_for()
    click(explorer, "map_a", -2.0, 2.2)
    explorer.get_by_text(re.compile("A: cell B, cycle 1, charge, voltage 2.2 ")).wait_for()
    explorer.get_by_text("Export", exact=True).click()
    figure = saved(explorer, "Save figure", tmp_path / "gamma.svg").read_text()
    assert figure.startswith("<?xml")
    assert "path" in figure
    explorer.get_by_label("Of", exact=True).last.select_option("series")
    explorer.get_by_text("rows = [0, 1, 2, 3]").wait_for()
    csv = saved(explorer, "Save numbers as csv", tmp_path / "gamma.csv")
    # By Python, since pandas 2 is off in the last digit of what it reads.
    table = pd.read_csv(csv, converters={"gamma / ohm": float})
    saved(explorer, "Save all numbers for Excel", tmp_path / "numbers.xlsx")
    lines = saved(explorer, "Save Python lines", tmp_path / "lines.py").read_text()
    result = drt.read_inversion(folder / "campaign.drt.h5", rows=[0, 1, 2, 3])
    assert np.array_equal(table["gamma / ohm"], result.gamma.ravel())
    book = pd.read_excel(tmp_path / "numbers.xlsx", sheet_name=None)
    assert np.allclose(book["results"]["r_pol / ohm"], result.r_pol, rtol=1e-14)
    monkeypatch.chdir(tmp_path)
    ran = {}
    exec(lines, ran)
    assert np.array_equal(ran["result"].gamma, result.gamma)
    assert np.allclose(ran["gamma"]["gamma_low"], table["gamma_low / ohm"], rtol=1e-12)
    assert (tmp_path / "gamma.pdf").read_bytes().startswith(b"%PDF")
    # The table chooses as well.
    explorer.get_by_label("Only those with").fill("cell == 'C' and voltage > 4")
    explorer.get_by_label("Only those with").press("Enter")
    explorer.get_by_text("of 1; 4 of 32 spectra").wait_for()
    explorer.get_by_role("gridcell", name="C", exact=True).nth(1).click()
    explorer.get_by_text(re.compile("A: cell C, cycle 1, discharge, voltage 4.7")).wait_for()
    explorer.get_by_label("Only those with").fill("__import__('os')")
    explorer.get_by_label("Only those with").press("Enter")
    explorer.get_by_text(re.compile("is not a condition")).wait_for()


def test_a_page_loads_each_script_once_and_is_laid_out_once(page, address):
    asked, changed = [], []
    page.on("request", lambda request: asked.append(request.url.partition("?")[0]))
    # Playwright takes no method of a list.
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: changed.append(str(frame))))
    page.goto(address)
    page.get_by_text("A: cell B, cycle 1").wait_for()
    page.wait_for_function("() => Bokeh.documents[0].get_model_by_name('observed')?.data.x.length > 0")
    scripts = [url.removeprefix(address) for url in asked if url.endswith(".js")]
    assert {"static/js/bokeh.min.js", "static/extensions/panel/panel.min.js"} < {*scripts}
    assert len(scripts) == len({*scripts})
    # Those that all pages need come before the page is made, and so before those that it names itself.
    assert tuple(scripts[: len(_SCRIPTS)]) == _SCRIPTS
    # What is computed later comes later, so that the rest is drawn sooner.
    first = next(frame for frame in changed if "map a" in frame)
    assert "points" in first
    assert "observed" not in first
    changed.clear()
    places = data(page, "places")
    click(page, "profile", places["x"][2], places["y"][2])
    page.get_by_text(re.compile(r"A: cell B, cycle 1, charge, voltage 3.8667")).wait_for()
    page.wait_for_timeout(500)
    said = " ".join(changed)
    assert "voltage: 3.8667 (3 of 4)" in said
    # New style sheets would have the whole page laid out again.
    assert "stylesheets" not in said
    # Few messages, since the page may be drawn after each. What is looked at first comes before the rest.
    patches = [frame for frame in changed if '"events"' in frame]
    assert 1 < len(patches) <= 8
    first = next(number for number, frame in enumerate(patches) if "A: cell B" in frame)
    assert all("validity" not in frame and "drt_engine.read" not in frame for frame in patches[: first + 1])


def test_a_bokeh_newer_than_known_writes_its_own_messages(explorer, monkeypatch):
    monkeypatch.setattr(widgets, "_GROUPED_UNTIL", (0, 0))
    places = data(explorer, "places")
    click(explorer, "profile", places["x"][2], places["y"][2])
    explorer.get_by_text(re.compile(r"A: cell B, cycle 1, charge, voltage 3.8667")).wait_for()


def test_cells_are_compared_at_cycle_500(explorer, folder, shoot):
    result = drt.read_inversion(folder / "campaign.drt.h5")
    states = result.states
    explorer.get_by_role("button", name="B", exact=True).click()
    explorer.get_by_label("cell").select_option("C")
    explorer.get_by_text(re.compile("B: cell C, cycle 1")).wait_for()
    explorer.get_by_label("cycle").select_option("500")
    explorer.get_by_text(re.compile("B: cell C, cycle 500, charge, voltage 2.2 ")).wait_for()
    b = int(np.flatnonzero((states["cell"] == "C") & (states["cycle"] == 500) & (states["direction"] == "charge"))[0])
    change = result.change(0, b)
    said = explorer.locator(".difference").inner_text()
    assert f"{change.r_pol:+.4g} Ω ({change.r_pol_low:+.4g} to {change.r_pol_high:+.4g} Ω, 95%)" in said
    until(explorer, "change", "y", change.gamma)
    until(explorer, "change", "low", change.gamma_low)
    # Both series are seen, and pins stay when the selection goes on.
    assert len(data(explorer, "map a")["image"]) == len(data(explorer, "map b")["image"]) == 1
    explorer.get_by_role("button", name="Pin", exact=True).click()
    explorer.get_by_text(re.compile("pin: cell C, cycle 500")).wait_for()
    explorer.get_by_label("direction").select_option("discharge")
    explorer.get_by_text(re.compile("B: cell C, cycle 500, discharge")).wait_for()
    b = states.query("cell == 'C' and cycle == 500 and direction == 'discharge' and voltage < 2.3").index[0]
    until(explorer, "change", "y", result.change(0, b).gamma)
    assert len(data(explorer, "gammas")["y"]) == 3
    shoot("explore")


def test_who_chooses_faster_than_views_come_sees_the_last_choice(explorer, folder):
    result = drt.read_inversion(folder / "campaign.drt.h5")
    states = result.states
    for cell, cycle, direction in [("C", 500, "discharge"), ("B", 1, "charge"), ("C", 500, "charge")]:
        explorer.get_by_role("button", name="B", exact=True).click()
        explorer.get_by_label("cell").select_option(cell)
        explorer.get_by_label("cycle").select_option(str(cycle))
        explorer.get_by_label("direction").select_option(direction)
        explorer.get_by_role("button", name="Swap A and B").click()
        explorer.get_by_role("button", name="clicks choose A").click()
        explorer.locator(".noUi-handle").first.press("End")
        explorer.get_by_role("button", name="Without B").click()
        explorer.get_by_role("button", name="Pin", exact=True).click()
        explorer.get_by_role("button", name="Without pins").click()
    chosen = states.query("cell == 'C' and cycle == 500 and direction == 'charge'").index
    explorer.get_by_label("cell").select_option("C")
    explorer.get_by_label("cycle").select_option("500")
    explorer.get_by_label("direction").select_option("charge")
    # The slider follows what was chosen before: a key that does not move it, since it is there still, says nothing.
    last = f"{states.loc[chosen, 'voltage'].max():g}"
    explorer.get_by_text(re.compile(f"A: cell C, cycle 500, charge, voltage {last} ")).wait_for()
    explorer.wait_for_timeout(1000)
    explorer.locator(".noUi-handle").first.press("Home")
    explorer.get_by_text(re.compile("A: cell C, cycle 500, charge, voltage 2.2 ")).wait_for()
    until(explorer, "gammas", "y", result.gamma[chosen[0]])
    until(explorer, "points", "x", result.impedance[chosen[0]].real)
    assert len(data(explorer, "gammas")["y"]) == 1


def test_the_selection_is_inverted_again(explorer, folder, shoot):
    explorer.get_by_text("Invert again").first.click()
    explorer.get_by_label("Method").select_option("Tikhonov")
    explorer.get_by_label("Weighting").select_option("modulus")
    explorer.get_by_role("button", name="Invert again", exact=True).last.click()
    explorer.get_by_text("Old and new").wait_for()
    spectra = drt.read_spectra(folder / "campaign.h5", rows=[0])
    new = drt.invert(spectra, drt.Tikhonov(weighting="modulus"))
    old = drt.read_inversion(folder / "campaign.drt.h5", rows=[0])
    until(explorer, "gammas", "y", new.gamma[0], place=1)
    until(explorer, "gammas", "y", old.gamma[0])
    assert list(data(explorer, "gammas")["dash"]) == ["solid", "dashed"]
    table = explorer.locator("table", has_text="r_pol new").inner_text()
    assert f"{old.r_pol[0]:.4g}" in table
    assert f"{new.r_pol[0]:.4g}" in table
    shoot("explore-again")


def answer(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=150) as found:
            return found.status, found.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_who_has_not_the_address_gets_nothing(address):
    host, secret = re.fullmatch(r"http://(127\.0\.0\.1:\d+)/([\w-]{43})/", address).groups()
    assert answer(address)[0] == 200
    script = f"{address}static/js/bokeh.min.js"
    assert answer(script)[0] == 200
    refused = [
        (f"http://{host}/", {}),
        (f"http://{host}/static/js/bokeh.min.js", {}),
        (f"http://{host}/{'x' * 43}/", {}),
        (address[:-2] + "/", {}),
        (address, {"Host": "evil.example"}),
        (address, {"Origin": "http://evil.example"}),
        (f"{address}static/../../../etc/passwd", {}),
        (f"{address}static/..%2f..%2f..%2fetc%2fpasswd", {}),
        (f"{address}static/extensions/panel/..%5c..%5cconfig.py", {}),
        (f"{address}ws", {"Origin": "http://evil.example", "Upgrade": "websocket", "Connection": "Upgrade"}),
        (f"http://{host}/ws", {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}),
    ]
    for url, headers in refused:
        assert answer(url, **headers) == (403, b""), (url, headers)
    with pytest.raises(urllib.error.URLError):  # another address of this machine is not listened to
        urllib.request.urlopen(f"http://127.0.0.2:{host.split(':')[1]}/{secret}/", timeout=5)


def test_the_command_opens_the_browser_without_telling_others(folder, monkeypatch):
    opened, outcome = [], []

    def run():
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)

        def open_(uri):
            opened.extend((uri, Path(unquote(urlsplit(uri).path)).read_text()))
            loop.call_soon(loop.stop)  # as Ctrl-C does a little later

        monkeypatch.setattr("webbrowser.open", open_)
        outcome.append(CliRunner().invoke(app, ["explore", str(folder / "campaign.h5")]))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(150)
    assert outcome[0].exit_code == 0, outcome[0].output
    address = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{43}/", outcome[0].output).group()
    uri, text = opened
    assert address in text
    assert address[-44:] not in uri
    assert not Path(unquote(urlsplit(uri).path)).exists()
    assert CliRunner().invoke(app, ["explore", str(folder / "nothing.h5")]).exit_code != 0


@pytest.fixture(scope="module")
def dropped(tmp_path_factory):
    """Tables as instruments write them, of which one is no measurement."""
    folder = tmp_path_factory.mktemp("instrument")
    made = campaign(CampaignDesign(cycles=(1,), voltages=2, frequencies=31)).spectra
    for row, name in ((0, "EIS_B_2.2V.csv"), (1, "EIS_B_4.7V.csv")):
        z = made.impedance[row]
        table = pd.DataFrame({"Frequency (Hz)": made.frequency, "Z' (Ohm)": z.real, "-Z'' (Ohm)": -z.imag})
        table.to_csv(folder / name, index=False)
    (folder / "notes.txt").write_text(f"nothing measured {HOSTILE}", encoding="utf-8")
    return folder


def test_files_are_dropped_inverted_and_saved(page, dropped, tmp_path, shoot):
    with served() as address:
        page.goto(address)
        page.locator("input[type=file]").set_input_files(sorted(dropped.iterdir()))
        page.get_by_text("What the files do not say").click()
        page.get_by_label("States in file names").fill("EIS_{cell}_{voltage}V.csv")
        page.get_by_label("States in file names").press("Enter")
        page.wait_for_timeout(500)
        for _ in range(100):  # until all three have arrived
            if page.get_by_text(re.compile(r"^3 files \(.*; 2 spectra")).count():
                break
            if page.get_by_role("button", name="Read the files").is_enabled():
                page.get_by_role("button", name="Read the files").click()
            page.wait_for_timeout(1000)
        page.get_by_text("nothing measured").or_(page.get_by_text("notes.txt")).first.wait_for()
        assert page.evaluate("() => window.hacked") is None
        page.get_by_text("Validity of the spectra").wait_for()
        shoot("explore-files")
        page.get_by_role("button", name="Invert", exact=True).click()
        page.get_by_text("A: voltage 2.2").wait_for()
        gamma = data(page, "gammas")["y"][0]
        target = tmp_path / "mine.h5"
        target.write_bytes(b"there before")
        page.get_by_label("Save as").fill(str(target))
        page.get_by_label("Save as").press("Enter")
        page.get_by_role("button", name="Save campaign").click()
        page.get_by_text("exists").wait_for()
        assert target.read_bytes() == b"there before"
        page.get_by_label("Save as").fill(str(tmp_path / "new.h5"))
        page.get_by_label("Save as").press("Enter")
        page.wait_for_timeout(300)
        page.get_by_role("button", name="Save campaign").click()
        page.get_by_text("Saved: new.h5, new.drt.h5").wait_for()
        assert not page.get_by_text("Not saved yet").is_visible()
        # The lines are those of what was saved, not of what is gone in a moment.
        page.get_by_text(f"read_inversion('{tmp_path / 'new.drt.h5'}'").wait_for()
    assert np.allclose(drt.read_inversion(tmp_path / "new.drt.h5").gamma[0], gamma.astype(float))
    assert len(drt.read_spectra(tmp_path / "new.h5")) == 2


def test_text_of_files_is_text_and_the_page_follows_the_file(page, tmp_path):
    made = campaign(CampaignDesign(cycles=(1,), voltages=2, frequencies=21)).spectra
    states = pd.DataFrame(
        {"cell": [HOSTILE, HOSTILE, "D", "D"], "note <img src=x onerror=window.hacked=1>": ["a", "b", HOSTILE, "d"]}
    )
    states["voltage"] = [2.2, 4.7, 2.2, 4.7]
    file = tmp_path / "campaign.h5"
    with np.errstate(all="ignore"):
        drt.write_spectra(file, drt.Spectra(made.frequency, made.impedance[:4], states))
    with served(file) as address:
        page.goto(address)
        page.get_by_text("4 spectra, nothing inverted yet").wait_for()
        page.get_by_text("onerror=window.hacked=1").first.wait_for(state="attached")
        assert page.evaluate("() => window.hacked") is None
        page.get_by_text("Invert again").first.click()
        page.get_by_label("Of", exact=True).first.select_option("series")
        page.get_by_role("button", name="Invert again", exact=True).last.click()
        page.get_by_text("Old and new").wait_for()
        # The file is inverted by another program meanwhile.
        drt.invert_file(file, tmp_path / "campaign.drt.h5", method=drt.Tikhonov())
        page.get_by_text("4 spectra, Tikhonov").wait_for()
        assert page.evaluate("() => window.hacked") is None


def test_what_fails_behind_the_page_fails_its_test(explorer, behind, monkeypatch):
    """The other tests here would be worth less if a callback could raise, or be lost, without their noticing."""
    places = data(explorer, "places")
    with monkeypatch.context() as broken:
        broken.setattr("drt_engine.explore.session.Session.choose", lambda *_: 1 / 0)
        click(explorer, "profile", places["x"][1], places["y"][1])
        for _ in range(100):
            if behind.wrong:
                break
            explorer.wait_for_timeout(100)
    assert "ZeroDivisionError" in "".join(behind.wrong)
    behind.wrong.clear()
    # One that raises while the views are drawn is told on the page as well. Two clicks at once are another event.
    explorer.wait_for_timeout(1000)
    with monkeypatch.context() as broken:
        broken.setattr("drt_engine.explore.figures.Views.show_single", lambda *_: [].pop())
        click(explorer, "profile", places["x"][3], places["y"][3])
        explorer.get_by_text("This should not have happened: IndexError: pop from empty list").wait_for()
    assert "IndexError" in "".join(behind.wrong)
    behind.wrong.clear()
    explorer.evaluate("() => { setTimeout(() => { null.nothing; }) }")
    explorer.evaluate("() => console.error('something')")
    explorer.wait_for_timeout(300)
    assert {text[:7] for text in behind.wrong} == {"console", "error: "}
    behind.wrong.clear()
    # And a change that is lost on its way to the page.
    assert behind.lost() == []
    with monkeypatch.context() as broken:
        broken.setattr("bokeh.document.Document.add_next_tick_callback", lambda *_: None)
        click(explorer, "profile", places["x"][2], places["y"][2])
        for _ in range(100):
            if any(behind.waiting.values()):
                break
            explorer.wait_for_timeout(100)
        lost = behind.lost(0.5)
    assert "Explorer.clicked" in lost[0]
    behind.waiting.clear()
