"""The page in headless Chromium: clicks, hover, keys, search, two models; no network, no error."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias.prompts import read_set
from bias.scatter import main, scatter_page
from bias.stored_logits import StoredLogits

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium")
WORDS = [f"w{i}" for i in range(3000)]
VOCABULARY = ["[PAD]", "[MASK]", "nurse", "pilot", "<b>", *WORDS]
SET = """
title: Work
axis: gender
question: Who works?
unbiased: Alike.
templates: ["The {person} is a [MASK]."]
groups:
  women: {standing: minoritised, why: w, people: [woman, girl]}
  men: {standing: normative, why: m, people: [man, boy]}
"""
OTHER = SET.replace("title: Work", "title: Play").replace("is a", "plays a")


def _model(name: str, seed: int, only: str = "") -> StoredLogits:
    """nurse is 4 nats likelier for women and pilot for men, half of that in the second model."""
    random = np.random.default_rng(seed)
    base = random.normal(0, 2, len(VOCABULARY)).astype(np.float32)
    logits = {}
    for template in ("The {} is a [MASK].", "The {} plays a [MASK]."):
        for person in ("woman", "girl", "man", "boy"):
            row = base + random.normal(0, 0.2, len(base)).astype(np.float32)
            row[2:4] = [9.0, 9.0]
            row[2 if person in ("woman", "girl") else 3] += 4 / seed
            if only in template:
                logits[template.format(person)] = row
    return StoredLogits(name, VOCABULARY, logits)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    models = [_model("plain", 1), _model("zari", 2, only="is a")]
    page = scatter_page(models, [read_set(SET, "work"), read_set(OTHER, "play")])
    path = tmp_path_factory.mktemp("page") / "scatter.html"
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def opened(browser: Any, url: str) -> Iterator[tuple[Any, list[str]]]:
    """The page behind its warning, loaded once, and what went wrong in it."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:"))
            else wrong.append(r.url))  # fmt: skip
    page.goto(url)
    page.click("#accept")
    page.wait_for_selector(".chart .main-svg")
    yield page, wrong
    page.close()


@pytest.fixture
def page(opened: tuple[Any, list[str]]) -> Iterator[Any]:
    """With every control as it was at first; fails on an error of the script or a request."""
    page, wrong = opened
    page.select_option("#set", index=0)
    page.select_option("#top", "200")
    page.check("input[value=likelihoods]")
    for box in page.locator("#models input").all():
        box.check()
    page.fill("#search", "")
    yield page
    assert wrong == []


def _trace(page: Any, panel: int, trace: int, what: str) -> list[Any]:
    return page.evaluate(
        f"Array.from(document.querySelectorAll('.chart')[{panel}].data[{trace}].{what})"
    )


def test_nothing_shows_before_the_warning_is_answered(browser: Any, url: str) -> None:
    page = browser.new_page()
    page.goto(url)
    assert page.is_visible("#warning") and not page.is_visible("#content")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # by keyboard alone
    page.wait_for_selector(".chart .main-svg")
    assert page.evaluate("document.activeElement.id") == "set"
    page.close()


def test_both_models_stand_side_by_side_with_the_first_pair_drawn(page: Any) -> None:
    assert page.locator(".panel h2").all_text_contents() == ["plain", "zari"]
    boxes = [page.locator(".panel").nth(i).bounding_box() for i in (0, 1)]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    charts = [page.locator(".chart").nth(i).bounding_box() for i in (0, 1)]
    assert charts[0]["x"] + charts[0]["width"] <= boxes[1]["x"]
    assert page.locator("#across option:checked").text_content() == "The man is a [MASK]."
    assert page.locator("#up option:checked").text_content() == "The woman is a [MASK]."
    labels = " ".join(_trace(page, 0, 1, "text"))
    assert "nurse" in labels and "pilot" in labels  # the largest differences


def test_a_searched_token_is_marked_in_both_models_with_its_figures(page: Any) -> None:
    page.fill("#search", "nurse")
    for panel, x, y in ((0, 9, 13), (1, 9, 11)):
        assert _trace(page, panel, 2, "x") == [pytest.approx(x, abs=1e-3)]
        assert _trace(page, panel, 2, "y") == [pytest.approx(y, abs=1e-3)]
    status = page.inner_text("#status")
    assert "plain: across" in status and "difference 4.00" in status and "difference 2.00" in status
    page.fill("#search", "hairdresser")
    assert "no single token" in page.inner_text("#status") and _trace(page, 0, 2, "x") == []


def test_hovering_and_clicking_a_dot_selects_its_token(page: Any) -> None:
    at = page.evaluate("""() => {
      const div = document.querySelectorAll('.chart')[0], axes = div._fullLayout;
      const i = div.data[0].text.findIndex((text) => text.includes('<b>pilot</b>'));
      const box = div.getBoundingClientRect();
      return [box.x + axes._size.l + axes.xaxis.l2p(div.data[0].x[i]),
              box.y + axes._size.t + axes.yaxis.l2p(div.data[0].y[i])];
    }""")
    page.mouse.move(at[0] - 3, at[1])
    page.mouse.move(*at)
    page.wait_for_function("document.getElementById('status').textContent.startsWith('pilot')")
    assert len(_trace(page, 1, 2, "x")) == 1  # linked
    page.mouse.move(5, 5)
    page.mouse.click(*at)
    assert page.inner_text("#status").startswith("pilot")


def test_the_keys_go_through_the_differences(page: Any) -> None:
    page.locator(".chart").first.focus()
    page.keyboard.press("End")
    assert page.inner_text("#status").startswith("nurse")
    page.keyboard.press("Home")
    assert page.inner_text("#status").startswith("pilot")
    page.keyboard.press("ArrowRight")
    assert not page.inner_text("#status").startswith("pilot")
    page.keyboard.press("Escape")
    assert page.inner_text("#status") == ""


def test_differences_put_the_mean_across_and_the_difference_up(page: Any) -> None:
    page.check("input[value=differences]")
    page.fill("#search", "nurse")
    assert _trace(page, 0, 2, "x") == [pytest.approx(11, abs=1e-3)]
    assert _trace(page, 0, 2, "y") == [pytest.approx(4, abs=1e-3)]


@pytest.mark.parametrize("top", ["30", "200", "1000", "5000", "all"])
def test_tokens_that_show_are_those_above_the_least_of_either_top(page: Any, top: str) -> None:
    page.select_option("#top", top)
    model = _model("plain", 1)
    x, y = model.logits_at_mask(["The man is a [MASK].", "The woman is a [MASK]."])[:, 2:]
    n = len(x) if top == "all" else min(int(top), len(x))
    chosen = (x >= np.sort(x)[-n]) | (y >= np.sort(y)[-n])
    least = min(x[chosen].min(), y[chosen].min())
    wanted = int(((x >= least - 1e-3) & (y >= least - 1e-3)).sum())
    assert len(_trace(page, 0, 0, "x")) == pytest.approx(wanted, abs=2)  # logits of 16 bits


def test_one_model_against_the_other_compares_their_differences(page: Any) -> None:
    page.check("input[value=models]")
    assert page.locator(".panel").count() == 1
    page.fill("#search", "nurse")
    assert _trace(page, 0, 2, "x") == [pytest.approx(4, abs=1e-3)]
    assert _trace(page, 0, 2, "y") == [pytest.approx(2, abs=1e-3)]
    ranges = page.evaluate("""(() => { const a = document.querySelector('.chart').layout;
      return [a.xaxis.range, a.yaxis.range]; })()""")
    assert ranges[0] == ranges[1]


def test_models_switch_off_and_a_sentence_that_one_lacks_is_said(page: Any) -> None:
    page.locator("#models input").nth(1).uncheck()
    assert page.locator(".panel").count() == 1
    page.locator("#models input").nth(1).check()
    page.select_option("#set", label="Play [gender]")
    assert "No logits were stored" in page.locator(".panel").nth(1).inner_text()
    assert page.locator(".chart").count() == 1


def test_the_table_says_the_same_and_its_words_are_buttons(page: Any) -> None:
    first = page.locator("#tables table").first
    assert first.locator("tbody tr").first.inner_text().split()[0] == "pilot"
    first.get_by_role("button", name="nurse").click()
    assert page.inner_text("#status").startswith("nurse")


def test_a_token_that_reads_as_markup_stays_text(page: Any) -> None:
    page.select_option("#top", "all")
    page.fill("#search", "<b>")
    assert page.inner_text("#status").startswith("<b> — plain")
    assert _trace(page, 0, 2, "text") == ["&lt;b&gt;"]


def test_colours_keep_apart_for_the_colour_blind(page: Any) -> None:
    scale = page.evaluate("document.querySelector('.chart').data[0].marker.colorscale")
    assert [colour for _, colour in scale][::2] == ["#0072B2", "#D55E00"]  # Okabe and Ito's
    symbols = set(_trace(page, 0, 0, "marker.symbol"))
    assert symbols == {"circle", "triangle-up", "triangle-down"}  # and form says it too


def test_the_command_draws_the_real_logits(
    shared_data: Path, bert_logits: dict[str, StoredLogits], tmp_path: Path
) -> None:
    path = tmp_path / "scatter.html"
    assert main([str(shared_data / "bert_mask_logits" / "logits.parquet"), "--vocabulary",
                 str(shared_data / "bert-base-uncased"), "--output", str(path)]) == 0  # fmt: skip
    text = path.read_text(encoding="utf-8")
    start = text.index('type="application/json">') + len('type="application/json">')
    data = json.loads(text[start : text.index("</script>", start)])
    assert [model["name"] for model in data["models"]] == list(bert_logits)
    assert sum(len(model["sentences"]) for model in data["models"]) == 14
    assert len(data["vocabularies"]) == 1 and len(data["vocabularies"][0]) == 30522 - 999


def test_what_cannot_be_drawn_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["none.parquet", "--output", str(tmp_path / "x.html")]) == 2
    assert "no such file of stored logits" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()
    stranger = StoredLogits("m", VOCABULARY, {})
    with pytest.raises(ValueError, match="none of the prompt sets has two sentences"):
        scatter_page([stranger], [read_set(SET, "work")])
