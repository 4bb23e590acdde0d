"""The page in headless Chromium: the recommendation, clicks, hover, keys; no network, no error."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bias.dossier.__main__ import main

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium")
BIASED = {"onnx": {"flip_rate": (0.09, 0.05, 0.1)}}


@pytest.fixture
def opened(
    whole: Callable[..., Path], make_run: Callable[..., Path], tmp_path: Path
) -> Iterator[Any]:
    """The page of four candidates; fails on an error of the script or a request."""
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    runs = [whole("accurate", accuracy=0.96, p50={"eager": 40.0, "onnx": 20.0}),
            whole("fast", accuracy=0.91, p50={"eager": 4.0, "onnx": 0.5}),
            whole("worse", accuracy=0.90, p50={"eager": 5.0, "onnx": 2.0}, audits=BIASED),
            make_run("</script><b>x", bundle=False, experiment="<b>tfidf")]  # fmt: skip
    assert main([*map(str, runs), "--output", str(tmp_path / "out"), "--no-texts"]) == 0
    wrong: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:"))
                else wrong.append(r.url))  # fmt: skip
        page.set_default_timeout(120_000)  # a busy machine takes its time over 5 MB of script
        page.goto((tmp_path / "out" / "dossier.html").as_uri())
        page.wait_for_function("document.body.dataset.ready === 'yes'")
        yield page
        browser.close()
    assert wrong == []


def _names(page: Any, panel: str) -> list[str]:
    texts = page.evaluate(f"document.getElementById('{panel}').data[0].text")
    return [text.split("</b>")[0].removeprefix("<b>") for text in texts]


def _at(page: Any, panel: str, name: str) -> list[float]:
    """Where on the screen a point is drawn."""
    at: list[float] = page.evaluate(f"""() => {{
      const div = document.getElementById('{panel}'), axes = div._fullLayout;
      div.scrollIntoView({{block: 'center'}});
      const i = div.data[0].text.findIndex((text) => text.includes('{name}'));
      const box = div.getBoundingClientRect();
      return [box.x + axes._size.l + axes.xaxis.d2p(div.data[0].x[i]),
              box.y + axes._size.t + axes.yaxis.d2p(div.data[0].y[i])];
    }}""")
    return at


# One page for all of it, since unpacking and drawing it takes longer than the checks do.
def test_the_page_recommends_and_its_front_can_be_explored(opened: Any) -> None:
    page = opened
    # the recommendation comes first, and says the same as the rules give
    first = page.locator(".recommendations tbody tr").first
    assert page.locator("h2").first.inner_text() == "Recommendation"
    assert first.locator("td.model").inner_text() == "accurate on onnx"
    screening = page.locator(".recommendations tr", has_text="Screening applicants")
    assert screening.locator("td.model").inner_text() == "no model"
    # both charts have all options with the figures; filled are those on the front
    six = {f"{name} on {b}" for name in ("accurate", "fast", "worse") for b in ("eager", "onnx")}
    assert set(_names(page, "panel-left")) == set(_names(page, "panel-right")) == six
    symbols = dict(zip(_names(page, "panel-left"), page.evaluate(
        "document.getElementById('panel-left').data[0].marker.symbol"), strict=True))  # fmt: skip
    assert symbols["accurate on onnx"] == symbols["fast on onnx"] == "circle"
    assert symbols["worse on onnx"] == "circle-open" and symbols["fast on eager"] == "diamond-open"
    colours = page.evaluate("Object.values(data.colours)")
    assert colours == ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]  # Okabe and Ito's

    # a click chooses in both charts and in the table, and says the figures
    page.mouse.click(*_at(page, "panel-left", "fast on onnx"))
    assert page.inner_text("#status") == (
        "fast on onnx, on the front: accuracy on shop 91.00% [89.67, 92.18]; "
        "latency, median 0.75 ms; flip rate 1.00% [0.50, 2.00]"
    )
    ring = page.evaluate("document.getElementById('panel-right').data[1].x")
    assert list(ring) == [pytest.approx(1.0)]
    assert page.locator("#points tr.chosen").inner_text().startswith("fast on onnx")
    # hovering shows the figures of a point
    page.mouse.move(*[c - 4 for c in _at(page, "panel-right", "worse on onnx")])
    page.mouse.move(*_at(page, "panel-right", "worse on onnx"))
    page.wait_for_selector("#panel-right .hoverlayer text")
    assert "flip rate" in (page.locator("#panel-right .hoverlayer").text_content() or "")

    # the keys go through the points from left to right
    page.locator("#panel-left").focus()
    page.keyboard.press("Home")
    assert page.inner_text("#status").startswith("fast on onnx")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#status").startswith("worse on onnx, not on the front")
    page.keyboard.press("End")
    assert page.inner_text("#status").startswith("accurate on eager")
    page.keyboard.press("Escape")
    assert page.inner_text("#status") == ""

    # other axes, filters, and the table's buttons
    page.select_option("#left", "memory_mb")
    assert set(page.evaluate("document.getElementById('panel-left').data[0].x")) == {300}
    page.check("#front-only")
    assert set(_names(page, "panel-right")) == {"accurate on onnx", "fast on onnx"}
    page.locator("#candidates input[value=fast]").uncheck()
    assert _names(page, "panel-right") == ["accurate on onnx"]
    page.get_by_role("button", name="accurate on onnx").press("Enter")
    assert page.inner_text("#status").startswith("accurate on onnx, on the front")
    assert page.evaluate("document.activeElement.textContent") == "accurate on onnx"
    # a name that reads as markup stays text, and a baseline stands in the table
    page.uncheck("#front-only")
    assert page.locator("#points button", has_text="<b>tfidf").count() == 1
    assert page.locator(".chart .main-svg").count() > 0  # reliability diagrams are drawn too
