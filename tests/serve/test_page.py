"""The page in headless Chromium, in front of clients whose answers are known; and its server."""

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import serve.__main__
from serve.client import Attribution, Client, Prediction, RequestRefused
from serve.page import PageServer

TEXT = "not <b>good</b> 😀 at all"


class Known(Client):
    """Answers with the label it was made with, and weights for two words."""

    def __init__(self, label: str) -> None:
        self.label = label

    def explain(self, text: str) -> Prediction:
        if "refuse" in text:
            raise RequestRefused("text: refused for a test", 422)
        if "key" in text:
            raise FileNotFoundError("token file: not there")
        at = text.index("at")
        return Prediction(
            label=self.label,
            score=0.75,
            probabilities={"negative": 0.75, "positive": 0.25},
            truncated="long" in text,
            model="tiny",
            version="1.0",
            attributions=(Attribution("not", 0, 3, 0.5), Attribution("at", at, at + 2, -0.25)),
        )


@pytest.fixture
def page_server() -> Iterator[PageServer]:
    server = PageServer({"first 1.0": Known("negative"), "second 2.0": Known("positive")})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def browser_page() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        yield page
        browser.close()
        assert errors == []


def test_a_review_is_answered_by_two_models_side_by_side(
    page_server: PageServer, browser_page: Any, tmp_path: Path
) -> None:
    page = browser_page
    page.goto(page_server.url)
    page.get_by_label("Review").fill(TEXT)
    assert page.get_by_label("Compare with").input_value() == "second 2.0"
    page.get_by_role("button", name="Ask").click()
    page.wait_for_selector("article >> nth=1")
    assert page.locator("article h2").all_inner_texts() == ["first 1.0", "second 2.0"]
    assert page.locator(".label").all_inner_texts() == ["negative", "positive"]
    first = page.locator("article").first
    assert "75.0 %" in first.inner_text() and "25.0 %" in first.inner_text()
    assert first.locator(".text").inner_text() == TEXT  # as it was typed: no markup of it runs
    assert first.locator(".text span").all_inner_texts() == ["not", "at"]
    titles = [each.get_attribute("title") for each in first.locator(".text span").all()]
    assert titles == ["for the label: +0.5000", "against the label: -0.2500"]
    page.screenshot(path=str(tmp_path / "page.png"))


def test_one_model_alone_by_the_keyboard_and_what_it_did_not_read(
    page_server: PageServer, browser_page: Any
) -> None:
    page = browser_page
    page.goto(page_server.url)
    page.get_by_label("Compare with").select_option("")
    page.get_by_label("Review").fill("not long, at least")
    page.get_by_label("Review").press("Control+Enter")
    page.wait_for_selector("article")
    assert page.locator("article").count() == 1
    assert "only the beginning" in page.locator("article").inner_text()


def test_a_refusal_is_shown(page_server: PageServer, browser_page: Any) -> None:
    page = browser_page
    page.goto(page_server.url)
    with page.expect_response("**/ask") as response:
        page.get_by_label("Compare with").select_option("")
        page.get_by_label("Review").fill("refuse this")
        page.get_by_role("button", name="Ask").click()
    assert response.value.status == 200  # the refusal is in the answer
    page.wait_for_selector(".error")
    assert page.locator(".error").inner_text() == "text: refused for a test"


def request(
    server: PageServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, Any]:
    host = server.url.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(host)
    sent = {"Host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, sent)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content, response.headers


def test_only_the_page_itself_may_ask(page_server: PageServer) -> None:
    question = json.dumps({"model": "first 1.0", "text": TEXT}).encode()
    kind = {"Content_Type": "application/json"}
    assert request(page_server, "POST", "/ask", question, **kind)[0] == 200
    assert request(page_server, "POST", "/ask", question)[0] == 403
    assert request(page_server, "POST", "/ask", question, Content_Type="text/plain")[0] == 403
    assert request(page_server, "POST", "/ask", question, Host="evil.example", **kind)[0] == 403
    assert request(page_server, "GET", "/", Host="evil.example")[0] == 403
    assert request(page_server, "GET", "/../server.py")[0] == 404
    assert request(page_server, "POST", "/other", question, **kind)[0] == 404


@pytest.mark.parametrize("port", [70_000, -1])
def test_what_is_no_port_is_refused_before_anything_starts(
    port: int, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(*_: Any) -> None:
        pytest.fail("a server was started")

    monkeypatch.setattr(serve.__main__.Server, "__enter__", start)
    assert serve.__main__.main([str(bundle), "--page", "--page-port", str(port)]) == 2
    said = capsys.readouterr().err
    assert f"--page-port: 127.0.0.1:{port}" in said and len(said.splitlines()) == 1


def test_a_page_that_was_never_started_can_be_stopped() -> None:
    PageServer({}).stop()


def test_a_key_file_that_is_gone_is_an_answer_too(page_server: PageServer) -> None:
    question = json.dumps({"model": "first 1.0", "text": "key"}).encode()
    status, answer, _ = request(
        page_server, "POST", "/ask", question, Content_Type="application/json"
    )
    assert (status, json.loads(answer)) == (200, {"error": {"message": "token file: not there"}})


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"[" * 9999, b'{"model": []}', b'{"model": "first 1.0"}']
)
def test_no_question_is_a_refusal(page_server: PageServer, body: bytes) -> None:
    status, _, _ = request(page_server, "POST", "/ask", body, Content_Type="application/json")
    assert status == 422


def test_the_pages_policy_allows_its_own_script_and_no_other(page_server: PageServer) -> None:
    _, content, headers = request(page_server, "GET", "/")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert content.count(b"<script>") == policy.split("style-src")[0].count("sha256-") == 1
