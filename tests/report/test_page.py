import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from harness.readings import Waveform
from harness.record.traces import Series
from harness.report.figures import duration, figure, ticks, with_uncertainty
from harness.report.html import draw_report, judgement_row, said_attempt
from harness.report.plots import (
    decimate,
    decimate_samples,
    disturbance,
    lanes_of,
    phases_rms,
    reading_panels,
    rms_by_cycle,
)

from .conftest import judgement


@pytest.fixture
def page(sealed):
    return draw_report(sealed).decode()


def test_the_page_loads_nothing(page):
    assert not re.search(r"""(?:src|href|action|data)\s*=\s*["'](?!#|data:,)""", page)
    assert "url(" not in page
    assert "@import" not in page
    assert not re.search(r"\b(?:fetch|XMLHttpRequest|import)\s*\(", page)
    assert "http://" not in page
    assert "https://" not in page


class Balance(HTMLParser):
    VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_tag_is_closed_and_every_picture_is_xml(page):
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) > 20
    for picture in pictures:
        ET.fromstring(picture)  # noqa: S314 - our own
        assert "nan" not in picture
        assert "inf" not in picture.replace("infinity", "")


def test_says_what_a_reader_must_not_miss(page):
    for words in (
        "Emulated.",
        "never be filed as acceptance",
        "does not show the 60 s rest before the second sag",
        "not verified against the text",
        "88.4 ± 2.2 ms",
        "RP-2026-0042",
        "ZM-1131",
        "WireTimeout: battery: no answer",
        "2 of 3",
        "50 Hz, 60 Hz",
    ):
        assert words in page, words


def test_lists_the_worst_plan_first(page):
    table = page.partition("Plans, worst first")[2].partition("</table>")[0]
    assert re.findall(r'href="#([^"]+)"', table) == [
        "FO-01",
        "CO-01",
        "RT-01-60-Hz",
        "CC-02",
        "PR-04",
        "RT-01-50-Hz",
    ]


def listed(run, rows):
    """Measures as the page lists them."""
    plan = run.plan("XX-01")
    for measure, verdict, is_stimulus, family in rows:
        requirement = {"id": f"{family}.x"}
        row = judgement(measure, 1.0, 0.01, "1", verdict, 0.0, 2.0, is_stimulus=is_stimulus)
        plan.judgement({**row, "requirement": requirement}, 1.0)
    plan.outcome(".", "", 2.0)
    run.seal()
    table = draw_report(run.folder).decode().partition('<table class="judgements">')[2]
    return re.findall(r"<td>(\w+)", table.partition("</table>")[0])


def test_among_equals_the_products_judgements_stand_above_the_benchs(run):
    """And what a text asks above what is our own; a miss of the bench is still the first to be read."""
    rows = [
        ("recorder", ".", True, "rackproof_bench"),
        ("telemetry", ".", False, "rackproof_bench"),
        ("restore", ".", False, "jeac9701_2024"),
        ("depth", "E", True, "rackproof_bench"),
        ("trips", ".", False, "jeac9701_2024"),
    ]
    assert listed(run, rows) == ["depth", "restore", "trips", "telemetry", "recorder"]


@pytest.mark.parametrize(
    ("limits", "unit", "shown"),
    [
        ({"minimum": -0.05, "maximum": 0.05, "written": "-0.05 to 0.05"}, "1", ""),
        ({"maximum": 0.1, "written": "at most 0.1 s"}, "s", ""),
        ({"maximum": 0.06, "written": "at most 3 cycles"}, "s", "at most 3 cycles"),
        ({"minimum": 0.0, "maximum": 0.0, "written": "0 count"}, "count", ""),
        ({"minimum": 1.0, "written": "true"}, "bool", ""),
        ({"minimum": 0.85, "written": "at least 0.85, guarded by 1 u"}, "1", "guarded by 1 u"),
        ({"minimum": 0.16, "written": "at least 0.16 s, ±0.02 s granted"}, "s", ""),
    ],
)
def test_a_limit_stands_once_unless_its_text_counts_otherwise(limits, unit, shown):
    row = judgement("x", 0.0, 0.001, unit, "PASS", 0.0, 1.0)
    whole = {"minimum": None, "maximum": None, "unit": unit, "tolerance": 0.0, **limits}
    assert judgement_row({**row, "limits": whole}).written == shown


def test_a_run_without_a_unit_has_no_attempt(page):
    assert "<dt>Attempt</dt><dd>2 of 3</dd>" in page
    assert said_attempt({"attempt": {"number": 4, "of": 0}}) == "4"
    assert said_attempt({"attempt": {"number": 0, "of": 0}}) == ""


def test_a_damaged_trace_leaves_a_sentence_and_not_a_crash(sealed):
    (sealed / "traces" / "RT-01-50-Hz.parquet").write_bytes(b"PAR1 no more")
    (sealed / "traces" / "RT-01-60-Hz_sag.parquet").unlink()
    page = draw_report(sealed).decode()
    assert "Readings cannot be drawn" in page
    assert "Capture sag cannot be drawn" in page


def test_text_of_a_device_cannot_become_markup(run):
    plan = run.plan("XX-01", title="<script>alert(1)</script>")
    run.command("inverter.say", 0.0, "</title><b>")
    plan.outcome("E", "<img src=x>", 1.0)
    run.seal()
    page = draw_report(run.folder).decode()
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "</title><b>" not in page


def test_no_peak_is_lost_in_decimation():
    at_s = np.linspace(0.0, 100.0, 100_000)
    values = np.zeros_like(at_s)
    values[31_234] = 7.0
    values[71_111] = -3.0
    times, kept = decimate(at_s, values, 0.0, 100.0)
    assert len(kept) < 5000
    assert (kept.max(), kept.min()) == (7.0, -3.0)
    assert abs(times[kept.argmax()] - at_s[31_234]) < 0.2
    _, samples = decimate_samples(values, 0.0, 1000.0)
    assert (samples.max(), samples.min()) == (7.0, -3.0)


@pytest.mark.parametrize("count", [1, 700, 2767, 5000, 9999, 100_001])
def test_decimated_samples_reach_from_the_first_to_the_last(count):
    times, _ = decimate_samples(np.arange(float(count)), 2.0, 1000.0)
    assert times[0] == 2.0
    assert times[-1] == pytest.approx(2.0 + count / 1000.0, rel=0.01)


@pytest.mark.parametrize("f0_hz", [50.0, 60.0])
def test_rms_of_a_sine_is_its_amplitude_over_root_two(f0_hz):
    t = np.arange(5000) / 5000.0
    _, rms = rms_by_cycle(10.0 * np.sin(2 * np.pi * f0_hz * t), 0.0, 5000.0, f0_hz)
    assert len(rms) == f0_hz
    assert rms == pytest.approx(10.0 / np.sqrt(2), rel=1e-3)


def test_finds_a_sag_and_nothing_in_a_calm_stretch():
    t = np.arange(10_000) / 5000.0
    calm = np.sin(2 * np.pi * 50.0 * t)
    sag = np.where((t >= 0.5) & (t < 0.8), 0.2, 1.0) * calm
    of = {"grid_ac.u1_v": Waveform(sag, 0.0, 5000.0, "grid_ac.u1_v")}
    assert disturbance(phases_rms(of, 50.0)) == pytest.approx((0.5, 0.8))
    of = {"grid_ac.u1_v": Waveform(calm, 0.0, 5000.0, "grid_ac.u1_v")}
    assert disturbance(phases_rms(of, 50.0)) is None


@pytest.mark.parametrize(
    ("value", "u", "unit", "text"),
    [
        (0.0884, 0.0011, "s", "88.4 ± 2.2 ms"),
        (9987.0, 8.2, "W", "9.987 ± 0.016 kW"),
        (-5.0, 0.0, "A", "\N{MINUS SIGN}5 A"),
        (3.0, 0.0, "count", "3"),
        (115.4701, 0.05, "V", "115.47 ± 0.10 V"),
        (25.0, 0.5, "degC", "25.0 ± 1.0 °C"),
        (float("inf"), 0.0, "s", "∞ s"),
        (float("nan"), 0.0, "V", "no number V"),
    ],
)
def test_writes_a_value_to_the_place_of_its_uncertainty(value, u, unit, text):
    assert with_uncertainty(value, u, unit) == text


def test_ticks_are_round_and_at_least_three():
    assert ticks(0.0, 10.0) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    for low, high in ((-44.0, 44.0), (49.97, 50.03), (0.0, 1e-7), (-3e6, 1e6)):
        found = ticks(low, high, 4)
        assert len(found) >= 3
        assert all(low <= each <= high for each in found)


def test_durations_and_plain_figures_read_as_words():
    assert [duration(each) for each in (12.34, 288.0, 7500.0)] == ["12.3 s", "4 min 48 s", "2 h 05 min"]
    assert figure(1.23e-9) == "1.23·10^-9".replace("-", "\N{MINUS SIGN}")
    assert figure(-0.0) == "0"


def test_what_has_a_unit_is_a_number_although_it_is_zero_or_one_all_the_time():
    at_s = np.arange(10.0)
    series = {
        "pcs.ac_power_w": Series(at_s, np.zeros(10)),
        "bms.soc": Series(at_s, np.ones(10)),
        "bms.is_charge_allowed": Series(at_s, np.ones(10)),
    }
    assert [lane.name for lane in lanes_of(series, 10.0)] == ["bms.is_charge_allowed"]
    drawn = "".join(panel.svg for panel in reading_panels(series, 0.0, 10.0))
    assert re.findall('data-name="([^"]+)"', drawn) == ["pcs.ac_power_w", "bms.soc"]


def test_no_line_is_drawn_where_nobody_looked():
    """A charge of 100 A, ten minutes of rest without a reading, and the first look after them."""
    at_s = np.array([*range(100), 700.0, 701.0])
    series = {"bms.current_a": Series(at_s, np.where(at_s < 650.0, -100.0, 0.0))}
    (panel,) = reading_panels(series, 0.0, 800.0)
    (path,) = re.findall('class="line c1"[^>]* d="([^"]+)"', panel.svg)
    assert path.count("M") == 2
    (whole,) = reading_panels({"bms.current_a": Series(at_s[:100], np.full(100, -100.0))}, 0.0, 800.0)
    assert re.findall('class="line c1"[^>]* d="([^"]+)"', whole.svg)[0].count("M") == 1
