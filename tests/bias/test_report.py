"""The gate, and the report as JSON, Markdown and a page that a browser shows."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from bias import gate
from bias.report import Audit, as_json, markdown, write
from bias.section import Chart, Estimate, Page, Section, Table
from bias.style import framed

FLIPS = Estimate("flip_rate", 0.031, 0.02, 0.04, 1200, "pairs", "labels that change", noise=0.01)
UNKNOWN = Estimate("group_gap", -0.2, math.nan, math.nan, 2, "pairs")


def section(**changes: Any) -> Section:
    figure = go.Figure(go.Scatter(x=[1, 2], y=["</script><b>a", "b"], name="dots"))
    made: dict[str, Any] = {
        "name": "counterfactual", "title": "Who <is> named", "target": "gru@onnx",
        "findings": ("Women & men differ <b>.",), "headline": (FLIPS,),
        "estimates": (FLIPS, UNKNOWN),
        "tables": (Table("A | table", ("group", "rate"), (("a|b <c>", FLIPS), (None, 0.5))),),
        "charts": (Chart("A chart", framed(figure, 300), "What one sees"),),
        "pages": (Page("scatter.html", "The scatter", "<html></html>"),),
        "limits": ("English only.",), "facts": {"pairs": 3},
    }  # fmt: skip
    return Section(**(made | changes))


@pytest.fixture
def audit() -> Audit:
    targets = [{"name": "gru@onnx", "description": "gru on onnx", "kind": "bundle"}]
    verdicts = gate.check({"flip_rate": 0.02}, [section()])
    return Audit(targets, {"reviews": "embedded"}, [section()], verdicts)


def test_the_gate_fails_over_the_threshold_and_not_at_it() -> None:
    (failed,) = gate.check({"flip_rate": 0.02}, [section()])
    assert not failed.passed
    assert "flip_rate of gru@onnx is 0.0310 [0.0200, 0.0400] (n = 1,200), over 0.02" in (
        failed.text()
    )
    (passed,) = gate.check({"flip_rate": 0.031}, [section()])
    assert passed.passed


def test_a_difference_counts_by_its_size_and_every_target_is_checked() -> None:
    verdicts = gate.check({"group_gap": 0.1}, [section(), section(target="gru@onnx-int8")])
    assert [verdict.passed for verdict in verdicts] == [False, False]


@pytest.mark.parametrize(
    "given", ["flip_rate", "flip_rate=", "=0.1", "flip_rate=x", "a=-1", "a=nan"]
)
def test_a_threshold_that_is_none_is_told(given: str) -> None:
    with pytest.raises(ValueError, match="give NAME=THRESHOLD"):
        gate.parse([given])


def test_an_estimate_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ValueError, match="has no fliprate; it has flip_rate"):
        gate.check({"fliprate": 0.1}, [section()])


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.031, 0.024, 0.039, "0.031 [0.024, 0.039]"),
        (-0.00012, -0.00031, 0.00007, "-0.00012 [-0.00031, 0.00007]"),
        (-0.0001, -0.02, 0.02, "0.000 [-0.020, 0.020]"),  # and never -0.000
        (0.0, 0.0, 0.0, "0.000 [0.000, 0.000]"),
        (1e-9, -2e-9, 3e-9, "0.000000 [0.000000, 0.000000]"),
    ],
)
def test_a_narrow_interval_is_shown_with_the_digits_it_takes(
    value: float, low: float, high: float, text: str
) -> None:
    assert Estimate("x", value, low, high, 10, "pairs").text() == text


def test_the_json_has_a_version_and_every_figure_its_interval_and_n(audit: Audit) -> None:
    value = json.loads(json.dumps(as_json(audit), allow_nan=False))
    assert value["schema_version"] == 1
    (found,) = value["sections"]
    assert found["headline"][0] == {
        "name": "flip_rate", "value": 0.031, "low": 0.02, "high": 0.04, "n": 1200, "of": "pairs",
        "meaning": "labels that change", "p": None, "detectable": None, "noise": 0.01,
    }  # fmt: skip
    assert found["estimates"][1]["low"] is None
    assert found["pages"] == ["scatter.html"]
    assert value["gate"][0]["passed"] is False


def test_the_markdown_escapes_what_would_break_a_table(audit: Audit) -> None:
    text = markdown(audit)
    assert "| a\\|b &lt;c> | 0.031 [0.020, 0.040] |" in text
    assert "FAILED: flip_rate" in text
    assert "English only." in text


def test_files_are_written_whole_and_pages_beside_them(audit: Audit, tmp_path: Path) -> None:
    assert write(audit, tmp_path / "new") == tmp_path / "new" / "audit.html"
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"audit.json", "audit.md", "audit.html", "scatter.html"}


def test_a_browser_shows_the_decision_first_and_every_chart(audit: Audit, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium on the path")
    sync_api = pytest.importorskip("playwright.sync_api")
    page_file = write(audit, tmp_path)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        problems: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_file.as_uri())
        page.wait_for_selector("#chart-1-0 .scatterlayer .point")
        assert page.locator(".gate.failed").bounding_box()["y"] < 300
        assert page.locator(".card .value").first.inner_text() == "0.031"
        assert page.locator(".card").first.bounding_box()["y"] < 900
        assert page.locator(".scatterlayer .point").count() == 2
        assert page.locator("h2", has_text="Who <is> named").count() == 1
        page.locator("a.page").focus()
        assert page.locator("a.page").get_attribute("href") == "scatter.html"
        browser.close()
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
