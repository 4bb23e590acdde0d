"""Every way to ask, and every way to ask wrongly: what is read, what is refused and how."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serve.problems import Problem
from serve.requests import Limits, Request, read_request

JSON, PLAIN = "application/json", "text/plain"
LIMITS = Limits(body_bytes=4000, text_bytes=100, items=5)


def read(value: Any, content_type: str = JSON) -> Request:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read_request(body, content_type, LIMITS)


def tensor(data: Any, **others: Any) -> dict[str, Any]:
    shape = [len(data)] if isinstance(data, list) else [1]
    return {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": shape, "data": data} | others]
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"text": "good"}, Request("native", ["good"], single=True)),
        ({"text": "good", "explain": True}, Request("native", ["good"], True, True)),
        ({"text": ["a", "b"]}, Request("native", ["a", "b"])),
        (["a", {"text": "b"}], Request("native", ["a", "b"])),
        ({"instances": ["a", {"text": "b"}]}, Request("v1", ["a", "b"])),
        (
            {"instances": ["a"], "parameters": {"explain": True}},
            Request("v1", ["a"], explain=True),
        ),
        (tensor(["a", "b"]), Request("v2", ["a", "b"])),
        (tensor([["a"], ["b"]], shape=[2, 1]), Request("v2", ["a", "b"])),
        (tensor(["a"]) | {"id": "7"}, Request("v2", ["a"], id="7")),
    ],
)
def test_what_is_asked_is_read(body: Any, expected: Request) -> None:
    assert read(body) == expected
    assert read_request(body, JSON, LIMITS) == expected  # where TorchServe has decoded it


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "Application/JSON; charset=utf-8",
        "application/vnd.x+json",
        'application/json;charset="UTF-8"',
    ],
)
def test_every_spelling_of_json_is_taken(content_type: str) -> None:
    assert read({"text": "good"}, content_type).items == ["good"]


@pytest.mark.parametrize("content_type", [PLAIN, "text/plain; charset=UTF-8; format=flowed"])
def test_plain_text_is_the_text(content_type: str) -> None:
    expected = Request("plain", ['{"text": "größe"}'], single=True)
    assert read('{"text": "größe"}'.encode(), content_type) == expected


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/html", "application/x-www-form-urlencoded", "text/plain; charset=latin-1",
     "application/json; charset=utf-16", "multipart/form-data; boundary=x"],
)  # fmt: skip
def test_other_content_types_are_415(content_type: str | None) -> None:
    with pytest.raises(Problem) as caught:
        read_request(b'{"text": "good"}', content_type, LIMITS)
    assert (caught.value.status, caught.value.field) == (415, "Content-Type")


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 400, "not_json", "body"),
        (b"{", 400, "not_json", "body"),
        (b'{"text": "\xff"}', 400, "not_json", "body"),
        (b"[" * 3000, 400, "not_json", "body"),
        (b"9" * 3999, 422, "wrong_type", "body"),
        (b"null", 422, "wrong_type", "body"),
        (b'"good"', 422, "wrong_type", "body"),
        ({}, 422, "missing_field", "text"),
        ({"txt": "good"}, 422, "unknown_field", "body"),
        ({"text": "good", "txt": 1}, 422, "unknown_field", "body"),
        (b'{"text": "good", "text": "bad"}', 422, "duplicate_field", "body"),
        (b'[{"text": "good", "text": "bad"}]', 422, "duplicate_field", "body"),
        ({"text": None}, 422, "wrong_type", "text"),
        ({"text": 1}, 422, "wrong_type", "text"),
        ({"text": {"text": "a"}}, 422, "wrong_type", "text"),
        ({"text": ""}, 422, "empty_text", "text"),
        ({"text": " \n\t"}, 422, "empty_text", "text"),
        (b'{"text": "\\ud800"}', 422, "invalid_text", "text"),
        ({"text": "a\0b"}, 422, "invalid_text", "text"),
        ({"text": "a" * 101}, 413, "too_large", "text"),
        ({"text": "ü" * 51}, 413, "too_large", "text"),
        ({"text": "a" * 5000}, 413, "too_large", "body"),
        ({"text": "good", "explain": 1}, 422, "wrong_type", "explain"),
        ({"text": ["a", "b"], "explain": True}, 413, "too_many_items", "explain"),
        ([], 422, "no_items", "body"),
        ({"text": []}, 422, "no_items", "text"),
        (["a"] * 6, 413, "too_many_items", "body"),
        ({"instances": ["a"] * 6}, 413, "too_many_items", "instances"),
        ({"instances": "a"}, 422, "wrong_type", "instances"),
        ({"instances": None}, 422, "wrong_type", "instances"),
        ({"instances": ["a"], "text": "b"}, 422, "unknown_field", "body"),
        ({"instances": ["a"], "parameters": []}, 422, "wrong_type", "parameters"),
        ({"inputs": "a"}, 422, "wrong_type", "inputs"),
        ({"inputs": []}, 422, "wrong_type", "inputs"),
        (tensor(["a"], name="x"), 422, "wrong_value", "inputs[0].name"),
        (tensor(["a"], datatype="FP32"), 422, "wrong_value", "inputs[0].datatype"),
        (tensor(["a"], shape=[2]), 422, "wrong_value", "inputs[0].shape"),
        (tensor(["a"], shape=None), 422, "wrong_value", "inputs[0].shape"),
        (tensor("a"), 422, "wrong_type", "inputs[0].data"),
        (tensor(["a", 1]), 422, "wrong_type", "inputs[0].data[1]"),
        (tensor([["a", "b"]]), 422, "wrong_type", "inputs[0].data[0]"),
        (tensor(["a"]) | {"id": 1}, 422, "wrong_type", "id"),
        (tensor(["a"]) | {"id": "\ud800"}, 422, "invalid_text", "id"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_with_its_code_and_field(
    body: Any, status: int, code: str, field: str
) -> None:
    with pytest.raises(Problem) as caught:
        read(body)
    problem = caught.value
    assert (problem.status, problem.code, problem.field) == (status, code, field)
    assert problem.as_dict()["error"]["message"] == problem.message


def test_a_number_of_thousands_of_digits_is_not_json() -> None:
    with pytest.raises(Problem) as caught:
        read_request(b"9" * 6000, JSON, Limits())
    assert (caught.value.status, caught.value.code) == (400, "not_json")


def test_plain_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        read(b"caf\xe9", PLAIN)
    assert (caught.value.status, caught.value.code) == (422, "invalid_text")


def test_a_bad_item_of_a_list_fails_alone() -> None:
    items = read(["good", "", None, {"text": "a" * 101}, "bad"]).items
    assert [item.code if isinstance(item, Problem) else item for item in items] == [
        "good", "empty_text", "wrong_type", "too_large", "bad"
    ]  # fmt: skip
    assert [item.field for item in items if isinstance(item, Problem)] == [
        "body[1]", "body[2]", "body[3].text"
    ]  # fmt: skip


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=8)
    | st.dictionaries(
        st.sampled_from(["text", "instances", "inputs", "name", "shape", "datatype", "data",
                         "parameters", "explain", "id", "other"]),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip
# A whole request, which values put together at random hardly ever are; `characters` are all that
# JSON can say, lone surrogates too.
V2_REQUESTS = st.builds(
    lambda given, texts: tensor(texts) | {"id": given},
    st.text(st.characters()) | JSON_VALUES,
    st.lists(st.text(st.characters(), min_size=1), min_size=1, max_size=3),
)
SECRET = "Ж" * 7  # what no message may give back


@given(value=JSON_VALUES | V2_REQUESTS)
@example(value={"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [[[]]]}]})
def test_any_json_is_read_or_refused(value: Any) -> None:
    for body in (value, json.dumps(value).encode()):
        try:
            request = read_request(body, JSON, LIMITS)
        except Problem as problem:
            assert problem.status in (400, 413, 415, 422)
        else:
            assert request.id is None or request.id.encode() is not None
            for item in request.items:
                assert isinstance(item, Problem) or (item.strip() and item.encode())


@given(body=st.binary(max_size=200), content_type=st.sampled_from([JSON, PLAIN, "x", "", None]))
def test_any_bytes_are_read_or_refused(body: bytes, content_type: str | None) -> None:
    try:
        read_request(body, content_type, LIMITS)
    except Problem as problem:
        assert problem.status in (400, 413, 415, 422)


@given(
    value=st.sampled_from(
        [
            SECRET,
            {SECRET: 1},
            {"text": {SECRET: 1}},
            {"text": SECRET + "\0"},
            {"text": SECRET * 30},
            {"instances": {SECRET: SECRET}},
            {"inputs": [{"name": SECRET}]},
            {"inputs": [{SECRET: 1}]},
            {"text": "a", "explain": SECRET},
            tensor(["a"]) | {"id": SECRET + "\ud800"},
        ]
    )
)
def test_no_message_gives_back_what_was_sent(value: Any) -> None:
    with pytest.raises(Problem) as caught:
        read(value)
    assert "Ж" not in json.dumps(caught.value.as_dict(), ensure_ascii=False)
