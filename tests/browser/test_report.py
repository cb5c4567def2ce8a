"""The report in a browser, from the disk and without network: its numbers are those of the file, and text is text."""

import random

import numpy as np
import pytest
from typer.testing import CliRunner

import drt_engine as drt
from drt_engine.cli import app
from drt_engine.simulate import CampaignDesign, campaign

HOSTILE = [
    "<script>window.evil = 1</script>",
    "</script><img src=x onerror='window.evil = 2'>",
    "\"'&amp;<b>bold</b>",
    "\x1b[31mred\x07\x00\u202e".replace("\x00", ""),
    "@{text} $index $$x^2$$ {safe}",
    "{{ 7 * 7 }}{% if x %}",
]


def report(file, out, *more):
    done = CliRunner().invoke(app, ["report", str(file), "-o", str(out), *more])
    assert done.exit_code == 0, done.output
    return out


def opened(page, out):
    """Open a report and wait for its figures."""
    page.goto(out.as_uri())
    page.wait_for_function(
        "() => document.querySelectorAll('.chart').length > 0 && "
        "[...document.querySelectorAll('.chart')].every(one => one.firstElementChild)"
    )
    page.wait_for_function("() => [...Bokeh.documents].every(one => one.is_idle)")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Two cells, two cycles, along the voltage."""
    path = tmp_path_factory.mktemp("demo") / "demo.drt.h5"
    spectra = campaign(CampaignDesign(cycles=(1, 500), voltages=4)).spectra
    drt.write_inversion(path, drt.invert(spectra, drt.Tikhonov(regularisation=1e-3), level=0.95))
    return path


@pytest.fixture(scope="module")
def demo_report(demo):
    return report(demo, demo.with_name("demo.html"))


def test_numbers_are_those_of_the_file_can_be_sorted_and_printed(page, demo, demo_report, shoot, tmp_path):
    opened(page, demo_report)
    result = drt.read_inversion(demo)
    frame = result.to_frame()
    headings = [text.split(" / ")[0].strip() for text in page.locator("#every th").all_inner_texts()]
    cells = page.eval_on_selector(
        "#every tbody",
        "body => [...body.rows].map(row => [...row.cells].map(c => [c.textContent, c.dataset.v ?? null]))",
    )
    assert len(cells) == len(frame)
    numbers = [name for name in headings if name in frame.columns and frame[name].dtype.kind == "f"]
    assert {"voltage", "r_inf", "r_pol", "r_pol_low", "residual"} <= set(numbers)
    chance = random.Random(3)
    for _ in range(50):
        row, name = chance.randrange(len(frame)), chance.choice(numbers)
        shown, exact = cells[row][headings.index(name)]
        value = frame[name].iloc[row]
        if not np.isnan(value):
            assert float(exact) == value, (row, name)
            assert shown == ("none" if np.isinf(value) else f"{value:.6g}")
    page.set_viewport_size({"width": 1180, "height": 1100})
    page.evaluate("document.getElementById('evolution').scrollIntoView()")
    shoot("report")
    # A click on a heading sorts.
    heading = page.locator("#every th", has_text="r_pol / ohm").first
    at = page.locator("#every th").all_inner_texts().index(heading.inner_text())
    expected = np.sort(drt.read_inversion(demo).r_pol)
    for order, values in (("ascending", expected), ("descending", expected[::-1])):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        found = page.eval_on_selector("#every tbody", f"body => [...body.rows].map(row => +row.cells[{at}].dataset.v)")
        np.testing.assert_array_equal(found, values)
    texts = page.locator("#every th", has_text="direction").first
    texts.locator("button").click()
    first = page.locator("#every tbody tr").first.inner_text()
    assert "charge" in first
    assert "discharge" not in first
    # And it can be printed.
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert (tmp_path / "report.pdf").stat().st_size > 50_000
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.eval_on_selector(".scroll", "one => getComputedStyle(one).overflow") == "visible"


def test_figures_can_be_zoomed_and_say_which_spectrum_it_is(page, demo_report):
    opened(page, demo_report)
    start = "Bokeh.index.roots.find(view => view.model.type === 'Figure').model"
    before = page.evaluate(f"{start}.x_range.end")
    # The pointer goes onto a point of the first figure.
    place = page.evaluate(
        """() => {
            const view = Bokeh.index.roots.find(view => view.model.type === 'Figure')
            view.el.scrollIntoView()
            const data = view.model.renderers[0].data_source.data, box = view.el.getBoundingClientRect()
            return [box.x + view.frame.x_scale.compute(data.x[3]), box.y + view.frame.y_scale.compute(data.y[3])]
        }"""
    )
    page.mouse.move(place[0] - 3, place[1] - 3)
    page.mouse.move(*place)
    page.wait_for_function(
        """() => {
            const seen = root => [...root.querySelectorAll('*')].some(one => one.shadowRoot && seen(one.shadowRoot)
                || one.childNodes.length === 1 && one.textContent.includes('row 3: cell'))
            return seen(document)
        }"""
    )
    page.evaluate(f"{start}.toolbar.active_scroll = {start}.toolbar.tools.find(tool => tool.type === 'WheelZoomTool')")
    page.mouse.wheel(0, -300)
    page.wait_for_function(f"() => {start}.x_range.end !== {before}")


def test_text_of_files_is_text_everywhere(page, tmp_path, frequency):
    names = [HOSTILE[k % len(HOSTILE)] for k in range(12)]
    z = 5 + 20 * np.linspace(1, 2, 12)[:, None] / (1 + (2j * np.pi * frequency * 1e-2) ** 0.9)
    column = "x<img src=x onerror='window.evil = 4'> $$x$$ @{text}"
    states = {"cell": names, "cycle": np.arange(12), "comment": names[::-1], column: names}
    path = tmp_path / "<i>a</i>.drt.h5".replace("/", "∕")
    drt.write_inversion(path, drt.invert(drt.Spectra(frequency, z, states), drt.Tikhonov(regularisation=1e-3)))
    out = report(path, tmp_path / "report.html", "--title", "<script>window.evil = 3</script>\x1b[0m")
    raw = out.read_text(encoding="utf-8")
    assert "\x1b" not in raw
    assert "\u202e" not in raw
    assert "<b>bold</b>" not in raw
    assert "window.evil = 1</script>" not in raw
    opened(page, out)
    assert page.evaluate("window.evil === undefined && document.querySelectorAll('img, td b, td script').length === 0")
    shown = page.locator("#every tbody").inner_text()
    for name in HOSTILE:
        assert name.replace("\x1b", "\\x1b").replace("\x07", "\\x07").replace("\u202e", "\\u202e") in shown
    assert page.locator("h1").inner_text() == "<script>window.evil = 3</script>\\x1b[0m"
    # The label under the pointer, where it is text as well.
    page.evaluate("Bokeh.index.roots[0].el.scrollIntoView()")
    box = page.locator(".chart").first.bounding_box()
    for share in np.linspace(0.05, 0.75, 12):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.4 * box["height"])
    assert page.evaluate("window.evil === undefined")
