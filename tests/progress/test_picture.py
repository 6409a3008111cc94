"""The picture: what stands in it and where, not its pixels."""

from __future__ import annotations

import io
import itertools
import math
import re
import warnings
from collections.abc import Mapping
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the picture is drawn by the extra [plot]")

from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from pytest_lance_ar.progress import picture
from pytest_lance_ar.progress.history import VERDICTS, History, history_of, parse
from pytest_lance_ar.progress.page import DARK
from pytest_lance_ar.progress.picture import COLOURS, EXPLANATION, FILE, MARKERS, NARROW, WIDE, Layout
from tests.progress.ledgers import campaign, ledger_of

LAYOUTS = pytest.mark.parametrize("layout", [FILE, WIDE, NARROW], ids=["file", "wide", "narrow"])
NASTY = (
    "costs $5, not $10",
    "x_1^2 \\frac{1}{2} $\\frac{",
    "\u5411\u91cf\u5316 \u2192 \U0001f680 caf\u00e9",
    "<script>alert(1)</script> & ]]> -->",
    "long " * 400,
    "_leading underscore",
)


def history(text: str) -> History:
    rows, damaged = parse(text)
    assert rows is not None
    return history_of(rows, tuple(damaged))


def kept(*notes: str, **cells: str) -> str:
    """A baseline, and a keep for each note."""
    rows = [{"verdict": "keep", "speedup": "1.1", "speedup_lo": "1.09", "speedup_hi": "1.11", **cells}] * len(notes)
    described = [{**row, "description": note} for row, note in zip(rows, notes, strict=True)]
    return ledger_of([{"verdict": "baseline"}, *described])


def drawn(told: History, layout: Layout = FILE) -> Figure:
    with picture.settings():
        figure = picture.figure(told, layout)
        figure.canvas.draw()
    return figure


def texts(figure: Figure) -> list[Text]:
    """Every visible text with something to say."""
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip()
    ]


@cache
def campaign_drawn(trials: int, layout: Layout) -> Figure:
    return drawn(history(campaign(trials)), layout)


def notes(figure: Figure) -> list[Text]:
    return [text for text in texts(figure) if text.get_gid() == "note"]


def marks(figure: Figure) -> dict[str, list[tuple[float, float]]]:
    """By verdict (or what the legend calls it), where its marks stand."""
    lines = [line for axes in figure.axes for line in axes.get_lines() if line.get_gid() == "trials"]
    return {str(line.get_label()): [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())] for line in lines}


def chart(figure: Figure) -> Axes:
    return figure.axes[0]


def extent(text: Text) -> Bbox:
    return text.get_window_extent()


@LAYOUTS
@pytest.mark.parametrize("trials", [1, 10, 500])
def test_every_trial_has_one_mark_and_no_two_texts_overlap(trials: int, layout: Layout) -> None:
    figure = campaign_drawn(trials, layout)
    numbers = sorted(x for places in marks(figure).values() for x, _ in places)
    assert numbers == list(range(1, trials + 1))
    for one, other in itertools.combinations(texts(figure), 2):
        assert Bbox.intersection(extent(one), extent(other)) is None, (one.get_text(), other.get_text())


@LAYOUTS
@pytest.mark.parametrize("trials", [1, 10, 500])
def test_annotations_stand_inside_the_chart_and_on_no_mark(trials: int, layout: Layout) -> None:
    figure = campaign_drawn(trials, layout)
    frame = chart(figure).get_window_extent()
    points = [
        place for word, places in marks(figure).items() if word not in ("incorrect", "timeout") for place in places
    ]
    pixels = chart(figure).transData.transform(points)
    for note in notes(figure):
        box = extent(note)
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1
        assert not any(box.contains(x, y) for x, y in pixels), note.get_text()


@LAYOUTS
@pytest.mark.parametrize("trials", [1, 10, 500])
def test_no_text_leaves_the_picture(trials: int, layout: Layout) -> None:
    figure = campaign_drawn(trials, layout)
    for text in texts(figure):
        box = extent(text)
        assert box.x0 >= 0, text.get_text()
        assert box.y0 >= 0, text.get_text()
        assert box.x1 <= figure.bbox.x1, text.get_text()
        assert box.y1 <= figure.bbox.y1, text.get_text()


def test_few_kept_trials_are_all_annotated_and_many_are_thinned_out_with_a_remark() -> None:
    few = history(campaign(10))
    assert len(notes(campaign_drawn(10, FILE))) == len(few.kept)
    many = history(campaign(500))
    figure = campaign_drawn(500, FILE)
    written = len(notes(figure))
    assert 10 <= written < len(many.kept)
    assert f"{written} of {len(many.kept)} kept labelled" in [text.get_text() for text in texts(figure)]


def test_a_note_comes_with_its_gain_and_at_its_own_mark() -> None:
    figure = drawn(history(kept("first idea", "second idea")))
    assert sorted(note.get_text() for note in notes(figure)) == ["baseline", "first idea +10.0%", "second idea +10.0%"]
    assert [x for x, _ in marks(figure)["keep"]] == [2, 3]
    assert [y for _, y in marks(figure)["keep"]] == pytest.approx([1.1, 1.21])


def test_a_simplification_stands_at_its_gain_over_the_fastest_and_moves_the_running_best() -> None:
    simpler = [
        {"verdict": "simpler", "speedup": f"{speedup}", "speedup_lo": f"{speedup - 0.005}", "speedup_hi": "1.01"}
        for speedup in (0.996, 0.998)
    ]
    told = history(kept("an idea") + ledger_of(simpler).split("\n", 1)[1])
    figure = drawn(told)
    assert [y for _, y in marks(figure)["simpler"]] == pytest.approx([1.1 * 0.996, 1.1 * 0.998])
    steps = [line for line in chart(figure).get_lines() if line.get_drawstyle() == "steps-post"]
    assert np.asarray(steps[0].get_ydata())[:4] == pytest.approx([1, 1.1, 1.1 * 0.996, 1.1 * 0.998])
    assert told.summary.startswith("4 trials, 3 kept: 1.098x ")


def test_every_verdict_has_a_mark_of_its_own() -> None:
    rows = [{"verdict": verdict, "speedup": "1.01"} for verdict in VERDICTS]
    figure = drawn(history(ledger_of(rows)))
    assert set(marks(figure)) == set(VERDICTS)
    looks = [
        (line.get_marker(), line.get_markerfacecolor() == line.get_markeredgecolor())
        for axes in figure.axes
        for line in axes.get_lines()
        if line.get_gid() == "trials"
    ]
    assert len(set(looks)) == len(VERDICTS)
    assert set(MARKERS) == {*VERDICTS, "slower elsewhere"}


def test_no_annotation_crosses_into_another_segment() -> None:
    rows = [{"verdict": "baseline", "description": "a note of some length"}, {"verdict": "keep", "speedup": "1.2"}] * 3
    figure = drawn(history(ledger_of(rows)))
    borders = [float(chart(figure).transData.transform((x, 1))[0]) for x in (2.5, 4.5)]
    boxes = [extent(note) for note in notes(figure)]
    assert len(boxes) >= 3
    assert not any(box.x0 < border < box.x1 for box in boxes for border in borders)


def test_what_was_not_measured_has_a_row_of_its_own_named_and_counted() -> None:
    rows = [{"verdict": "baseline"}, {"verdict": "incorrect"}, {"verdict": "incorrect"}, {"verdict": "timeout"}]
    figure = drawn(history(ledger_of(rows)))
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["incorrect 2", "timeout 1"]
    assert marks(figure)["incorrect"] == [(2, 0), (3, 0)]


@pytest.mark.parametrize(("speedup", "word"), [("0.05", "slower than shown"), ("40", "faster than shown")])
def test_a_kernel_far_off_is_marked_at_the_edge_and_flattens_nothing(speedup: str, word: str) -> None:
    plain = kept("a", "b")
    figure = drawn(history(plain + ledger_of([{"verdict": "discard", "speedup": speedup}]).split("\n", 1)[1]))
    low, high = chart(figure).get_ylim()
    ((x, y),) = marks(figure)[word]
    assert x == 4
    assert low < y < high
    assert math.log(high / low) < 3 * math.log(1.21)
    assert word in [text.get_text() for text in texts(figure)]


def test_the_running_best_is_drawn_as_it_is_told_and_begins_anew_at_a_baseline() -> None:
    rows = [{"verdict": "baseline"}, {"verdict": "keep", "speedup": "2"}] * 2 + [
        {"verdict": "discard", "speedup": "0.9"}
    ]
    told = history(ledger_of(rows))
    steps = [line for line in chart(drawn(told)).get_lines() if line.get_drawstyle() == "steps-post"]
    assert [[float(y) for y in np.asarray(line.get_ydata())] for line in steps] == [[1, 2, 2], [1, 2, 2, 2]]


DAMAGED: Mapping[str, str] = {
    "only a baseline": ledger_of([{"verdict": "baseline"}]),
    "only failures": ledger_of([{"verdict": "incorrect"}, {"verdict": "timeout"}]),
    "no figures": ledger_of([{"verdict": verdict, "speedup": "nan"} for verdict in VERDICTS]),
    "no baseline": ledger_of([{"verdict": "keep", "speedup": "1.1"}]),
    "foreign verdicts": ledger_of([{"verdict": "splendid", "speedup": "1.1"}]),
    "many baselines": ledger_of([{"verdict": "baseline", "description": "again"}] * 40),
    "the largest gains": ledger_of([{"verdict": "keep", "speedup": "999999"}] * 2),
    "the smallest gains": ledger_of([{"verdict": "keep", "speedup": "1.0001"}] * 3),
    "nasty notes": kept(*NASTY),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_odd_ledgers_are_drawn(name: str) -> None:
    told = history(DAMAGED[name])
    figure = drawn(told)
    assert sum(map(len, marks(figure).values())) == len(told.points)
    assert all(math.isfinite(end) and end > 0 for end in chart(figure).get_ylim())
    for one, other in itertools.combinations(texts(figure), 2):
        assert Bbox.intersection(extent(one), extent(other)) is None, (one.get_text(), other.get_text())


def test_an_empty_history_is_a_picture_that_says_so() -> None:
    assert [text.get_text() for text in texts(drawn(History()))] == ["No trials yet", EXPLANATION]
    assert picture.png(History()).startswith(b"\x89PNG")


def test_notes_stand_as_they_were_written_and_are_cut() -> None:
    figure = drawn(history(kept(*NASTY)))
    shown = {note.get_text() for note in notes(figure)}
    assert {"costs $5, not $10 +10.0%", "_leading underscore +10.0%"} <= shown
    assert all(len(text) <= FILE.note + len(" +10.0%") for text in shown)


def test_the_png_is_opaque_and_of_the_layouts_size() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no font has every glyph, and nobody needs to hear of it
        data = picture.png(history(kept(*NASTY)))
    pixels = image.imread(io.BytesIO(data), format="png")
    assert pixels.shape[:2] == (round(FILE.height * picture.DPI), round(FILE.width * picture.DPI))
    assert pixels.shape[2] == 3 or (pixels[..., 3] == 1).all()


@pytest.mark.parametrize("colours", [COLOURS, DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_the_paper(colours: Mapping[str, str]) -> None:
    for name in ("ink", "muted", "accent"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_svg_is_well_formed_and_says_what_the_notes_say() -> None:
    element = picture.svg(history(kept(*NASTY, f"colour {COLOURS['accent']}")), WIDE)
    shown = "\n".join(ElementTree.fromstring(element).itertext())
    for note in (*NASTY[:2], NASTY[3], f"colour {COLOURS['accent']}"):
        assert note[: WIDE.note] in shown


def test_the_svg_leaves_its_colours_to_the_page_and_refers_to_nothing_outside() -> None:
    element = picture.svg(history(campaign(100)), WIDE)
    colours = set(re.findall(r"#[0-9a-f]{6}\b", element))
    assert colours <= {"#000000"}
    assert set(re.findall(r"var\(--(\w+)\)", element)) == set(COLOURS)
    assert all(reference.startswith("#") for reference in re.findall(r'href="([^"]*)"', element))
    assert set(re.findall(r"https?://[^\"\s]*", element)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_two_pictures_on_one_page_share_no_id_but_for_equal_things() -> None:
    told = history(campaign(10))
    named = [dict(re.findall(r'<(\w+) id="([^"]*)"', picture.svg(told, layout))) for layout in (WIDE, NARROW)]
    assert not {name for name in named[0].values() if re.fullmatch(r"\w+_\d+", name)}


def test_a_users_own_settings_change_nothing() -> None:
    import matplotlib

    told = history(campaign(10))
    before = picture.png(told)
    with matplotlib.rc_context(
        {"text.usetex": True, "font.size": 30, "axes.facecolor": "black", "savefig.transparent": True}
    ):
        assert picture.png(told) == before


def test_a_gain_that_was_refused_for_what_it_costs_elsewhere_has_a_mark_of_its_own() -> None:
    refused = {"verdict": "discard", "speedup": "1.01", "reason": "slower elsewhere: the guard workload (...)"}
    rows = [{"verdict": "baseline"}, refused, {**refused, "reason": "not strictly better"}]
    told = history(ledger_of(rows))
    assert [point.row.slower_elsewhere for point in told.points] == [False, True, False]
    found = marks(drawn(told))
    assert [x for x, _ in found["slower elsewhere"]] == [2]
    assert [x for x, _ in found["discard"]] == [3]
