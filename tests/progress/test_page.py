"""The page: self-contained, inert whatever the notes say, and alive in a real browser."""

from __future__ import annotations

import argparse
import functools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="the page holds the picture, which is drawn by the extra [plot]")

from hypothesis import given
from hypothesis import strategies as st

from pytest_lance_ar.commands.progress import Pictures
from pytest_lance_ar.progress import picture
from pytest_lance_ar.progress.history import History, history_of, parse
from pytest_lance_ar.progress.page import COLUMNS, page
from tests.progress.ledgers import campaign, ledger_of

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
NASTY = (
    "<script>document.title = 'owned'</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "\"' onmouseover='alert(1)' & &lt; ]]> --> </script>",
    "\u5411\u91cf\u5316 \u2192 \U0001f680",
)
SVG = "<svg></svg>"


class Reader(HTMLParser):
    """The elements of a page with their attributes, and the texts of its table's cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self._inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "td":
            self._inside = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def history(text: str) -> History:
    rows, damaged = parse(text)
    assert rows is not None
    return history_of(rows, tuple(damaged))


def noted(*notes: str) -> History:
    keep = {"verdict": "keep", "speedup": "1.1", "speedup_lo": "1.09", "speedup_hi": "1.11"}
    rows = [{**keep, "description": note, "reason": note, "commit": note, "timestamp": note} for note in notes]
    return history(ledger_of([{"verdict": "baseline"}, *rows]))


def whole(told: History) -> str:
    return page(told, wide=picture.svg(told, picture.WIDE), narrow=picture.svg(told, picture.NARROW))


def test_every_trial_is_a_row_of_the_table() -> None:
    told = history(campaign(100))
    cells = Reader(page(told, wide=SVG, narrow=SVG)).cells
    rows = [cells[i : i + len(COLUMNS)] for i in range(0, len(cells), len(COLUMNS))]
    assert [row[0] for row in rows] == [str(number) for number in range(1, 101)]
    assert [row[1] for row in rows] == [point.row.verdict for point in told.points]
    note = [name for name, _ in COLUMNS].index("note")
    assert [row[note] for row in rows] == [point.row.note for point in told.points]


def test_a_gains_worst_guard_is_a_cell() -> None:
    told = history(ledger_of([{"verdict": "baseline"}, {"verdict": "keep", "speedup": "1.1", "guard_worst": "1.0123"}]))
    cells = Reader(page(told, wide=SVG, narrow=SVG)).cells
    place = [name for name, _ in COLUMNS].index("guard worst")
    assert [row[place] for row in (cells[: len(COLUMNS)], cells[len(COLUMNS) :])] == ["", "1.012"]


def test_the_page_needs_nothing_else() -> None:
    text = whole(history(campaign(100)))
    for tag, attributes in Reader(text).elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) == {"#"}


@pytest.mark.parametrize("note", NASTY)
def test_a_note_stands_as_text_and_adds_no_element(note: str) -> None:
    plain, nasty = Reader(whole(noted("x" * len(note)))), Reader(whole(noted(note)))
    assert [tag for tag, _ in nasty.elements] == [tag for tag, _ in plain.elements]
    assert note in nasty.cells


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40))
def test_any_note_comes_back_from_the_page(note: str) -> None:
    reader = Reader(page(noted(note), wide=SVG, narrow=SVG))
    assert reader.cells.count(note) >= 4
    assert sum(tag == "script" for tag, _ in reader.elements) == 1


def test_ids_are_unique_but_for_equal_things() -> None:
    text = whole(history(campaign(30)))
    elements = re.findall(r'<(\w+) id="([^"]+)"', text)
    assert all(re.fullmatch(r"[a-z]+[0-9a-f]{6,}", name) for _, name in elements), elements


def test_remarks_are_told() -> None:
    assert "<p>line 3 was skipped: it has 1 of 28 cells</p>" in page(
        history(ledger_of([{"verdict": "baseline"}]) + "torn"), wide=SVG, narrow=SVG
    )


def test_no_trials_are_a_page_without_a_picture() -> None:
    text = page(History(), wide=SVG, narrow=SVG)
    assert "<h1>No trials yet</h1>" in text
    assert "<svg" not in text


PROBE = """<!DOCTYPE html><title>probe</title><iframe id="page" src="page.html" style="border: 0"></iframe><script>
const frame = document.getElementById("page");
const cells = (column) => [...frame.contentDocument.querySelectorAll("tbody tr")]
  .filter((row) => !row.hidden).map((row) => row.cells[column].textContent);
frame.addEventListener("load", async () => {
  const inside = frame.contentDocument;
  const resized = async (width) => {
    frame.style.width = `${width}px`;
    await new Promise((done) => setTimeout(done, 200));
    const shown = (name) => getComputedStyle(inside.querySelector(name)).display !== "none";
    const root = inside.documentElement;
    return {overflow: root.scrollWidth - root.clientWidth, wide: shown(".wide"), narrow: shown(".narrow")};
  };
  const told = {large: await resized(1280), small: await resized(400)};
  told.title = inside.title;
  told.all = inside.querySelector("output").value;
  const headers = [...inside.querySelectorAll("th")];
  const click = (name) => headers.find((header) => header.textContent === name).querySelector("button").click();
  click("speed-up"); told.ascending = cells(2);
  click("speed-up"); told.descending = cells(2);
  told.sorted = headers.map((header) => header.getAttribute("aria-sort"));
  click("trial"); told.numbers = cells(0);
  const form = inside.querySelector("form");
  const type = (name, value) => {
    form[name].value = value;
    form[name].dispatchEvent(new Event("input", {bubbles: true}));
  };
  type("verdict", "keep"); told.kept = cells(1);
  type("words", "SCRIPT"); told.found = cells(NOTE);
  told.count = inside.querySelector("output").value;
  const paper = getComputedStyle(inside.body).backgroundColor;
  told.paper = paper;
  document.body.textContent = JSON.stringify(told);
});
</script>""".replace("NOTE", str([name for name, _ in COLUMNS].index("note")))


@contextmanager
def serving(directory: Path, before: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """The directory's address: two files of one origin may look into each other. before: told what is asked for."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def end_headers(self) -> None:
            # A copy would be asked for anew by its second of modification, and two pages can be of one second.
            self.send_header("Cache-Control", "no-store")
            super().end_headers()

        def do_GET(self) -> None:
            before(self.path)
            super().do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def browsed(directory: Path, probe: str, *arguments: str, before: Callable[[str], None] = lambda _: None) -> Any:
    """What a probe, a page that shows page.html in a frame, found out in a browser, as JSON says it."""
    (directory / "probe.html").write_text(probe)
    with serving(directory, before) as address:
        done = subprocess.run(
            [
                str(BROWSER),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={directory / 'profile'}",
                *arguments,
                "--virtual-time-budget=20000",
                "--dump-dom",
                f"{address}/probe.html",
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    match = re.search(r"<body>(\{.*\})</body>", done.stdout, re.DOTALL)
    assert match, done.stdout[-2000:]
    return json.loads(match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


RELOADS = """<!DOCTYPE html><title>probe</title><iframe id="page" src="page.html"></iframe><script>
const frame = document.getElementById("page");
const seen = [];
frame.addEventListener("load", () => {
  const inside = frame.contentDocument;
  seen.push([inside.title, inside.querySelector(".now").textContent, inside.querySelectorAll("tbody tr").length]);
  if (seen.length === 3) document.body.textContent = JSON.stringify({seen});
});
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on the PATH")
def test_a_real_browser_follows_a_page_that_is_kept_up_to_date(tmp_path: Path) -> None:
    """Of the watching command's own pages, each with another trial."""
    asked: list[str] = []
    names = {"out": tmp_path / "page.png", "html": tmp_path / "page.html"}
    pictures = Pictures(argparse.Namespace(**names, watch=True, no_picture=False))

    def before(path: str) -> None:
        if path == "/page.html":
            asked.append(path)
            pictures.write(history(campaign(4 + len(asked))), f"now: idea {len(asked)}")

    found = browsed(tmp_path, RELOADS, before=before)
    titles = [history(campaign(number)).summary for number in (5, 6, 7)]
    assert found["seen"] == [[title, f"now: idea {i + 1}", 5 + i] for i, title in enumerate(titles)]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on the PATH")
@pytest.mark.parametrize(
    ("scheme", "paper"), [(1, "rgb(246, 248, 250)"), (0, "rgb(13, 17, 23)")], ids=["light", "dark"]
)
def test_a_real_browser_sorts_filters_and_runs_no_note(tmp_path: Path, scheme: int, paper: str) -> None:
    extra = ledger_of([{"verdict": "keep", "speedup": "1.01", "description": note} for note in NASTY]).split("\n", 1)[1]
    told = history(campaign(60) + extra)
    (tmp_path / "page.html").write_text(whole(told), encoding="utf-8")
    seen = browsed(tmp_path, PROBE, f"--blink-settings=preferredColorScheme={scheme}")
    assert seen["title"] == told.summary
    assert seen["paper"] == paper
    assert seen["large"] == {"overflow": 0, "wide": True, "narrow": False}
    assert seen["small"] == {"overflow": 0, "wide": False, "narrow": True}
    assert seen["all"] == "64 of 64 trials"
    measured = sorted(point.row.speedup for point in told.points if point.row.speedup is not None)
    empty = [""] * (64 - len(measured))
    assert seen["ascending"] == [f"{speedup:.4f}" for speedup in measured] + empty
    assert seen["descending"] == [f"{speedup:.4f}" for speedup in reversed(measured)] + empty
    assert seen["sorted"].count("descending") == 1
    assert seen["numbers"] == [str(number) for number in range(1, 65)]
    assert set(seen["kept"]) == {"keep"}
    assert seen["found"] == [note for note in NASTY if "script" in note]
    assert seen["count"] == "2 of 64 trials"
