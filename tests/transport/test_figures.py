"""Figures of conductivity: what is drawn is what was found."""

import numpy as np
import pytest

import drt_engine as drt
from drt_engine.plotting import arrhenius, conductivities, polarisation, save, total_resistance
from drt_engine.simulate import ZARC, ConstantPhase, ProportionalNoise, TransmissionLine

FREQUENCY = np.logspace(6, -1, 40)
CELSIUS = np.array([0.0, 20.0, 40.0, 60.0])


@pytest.fixture(scope="module")
def pellets():
    kelvin = CELSIUS + 273.15
    r = 500 * np.exp(0.3 / 8.617e-5 * (1 / kelvin - 1 / 298.15))
    z = [(ZARC(one, one * 1e-9, 0.95) + ConstantPhase(2e-6, 0.9)).impedance(FREQUENCY) for one in r]
    states = {"thickness": 0.05, "area": 0.785, "sample": "a_1"}
    return drt.Spectra(
        FREQUENCY,
        ProportionalNoise(0.002).add(z, 0),
        {"temperature": CELSIUS} | {k: [v] * 4 for k, v in states.items()},
    )


@pytest.fixture(scope="module")
def line():
    return TransmissionLine(300.0, 100.0, 1e-3, 1.0, "ee")


@pytest.fixture(scope="module")
def steps(line):
    time = np.linspace(0.01, 3.0, 80)
    volts = [0.01, -0.01, 0.02]
    current = np.concatenate([line.step_current(time, v) for v in volts])
    current += 1e-8 * np.random.default_rng(0).standard_normal(current.size)
    states = {"thickness": 0.05, "area": 0.785}
    return drt.polarisation(drt.Trace(np.arange(1, 241) * 0.04, np.repeat(volts, 80), current, states))


@pytest.mark.slow
@pytest.mark.recorded
def test_nyquist_marks_the_total_and_shades_the_tail(pellets, tmp_path):
    result = drt.conductivity(pellets)
    figure = total_resistance(pellets, result, rows=[1])
    axes = figure.axes[0]
    marks = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert marks[0].get_xdata()[0] == pytest.approx(result.table["r_total"][1])
    spans = [patch for patch in axes.patches if patch.get_alpha() == 0.1]
    assert spans[0].get_x() == pytest.approx(result.table["r_total"][1])
    assert "total" in axes.get_legend().get_texts()[1].get_text()
    assert save(figure, tmp_path / "a.png").stat().st_size > 1000
    assert len(total_resistance(pellets, result).axes[0].lines) >= 8
    with pytest.raises(drt.InputError, match="one row each"):
        total_resistance(pellets[[0]], result)


@pytest.mark.slow
@pytest.mark.recorded
def test_arrhenius_has_the_convention_on_its_axis(pellets, tmp_path):
    for convention, label in (("ln(sigma T)", "S K cm"), ("ln(sigma)", "S cm")):
        lines = drt.conductivity(pellets).arrhenius(convention=convention)
        figure = arrhenius(lines)
        axes = figure.axes[0]
        assert label in axes.get_ylabel()
        assert f"{lines.table['ea'][0]:.3f} ±" in axes.get_legend().get_texts()[0].get_text()
        assert len(axes.collections) >= 2  # errors and the band
        save(figure, tmp_path / f"{label[:3].strip()}.pdf")
    with pytest.raises(drt.InputError, match="no line of 'bulk'"):
        arrhenius(lines, quantity="bulk")


def test_polarisation_has_the_steady_state_and_an_inset(steps, tmp_path):
    figure = polarisation(steps)
    axes = figure.axes[0]
    dashed = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed, steps.steps["steady"] * 1e6, rtol=1e-6)
    assert axes.get_ylabel() == "$I$ / µA"
    assert len(axes.child_axes) == 1
    save(figure, tmp_path / "a.svg")
    with pytest.raises(drt.InputError, match="sample must be"):
        polarisation(steps, sample=3)


@pytest.mark.slow
@pytest.mark.recorded
def test_bars_stand_beside_each_other_and_what_is_not_determined_says_so(line, steps, tmp_path):
    z = ProportionalNoise(0.002).add(line.impedance(FREQUENCY / 10)[None], 0)
    spectra = drt.Spectra(FREQUENCY / 10, z, {"thickness": [0.05], "area": [0.785]})
    found = drt.composite(spectra, "ee", dc=steps)
    across = drt.composite(spectra, "ie")
    figure = conductivities({"bare": found, "coated": across})
    axes = figure.axes[0]
    heights = [patch.get_height() for patch in axes.patches]
    assert heights == pytest.approx([found.table[name][0] for name in ("sigma_ion", "sigma_e", "sigma_dc")])
    assert [text.get_text() for text in axes.texts] == ["not determined"] * 2
    assert [text.get_text() for text in axes.get_xticklabels()] == ["bare", "coated"]
    save(figure, tmp_path / "a.png")
    assert total_resistance(spectra, found).axes
