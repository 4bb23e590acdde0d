"""The body of a request -> the texts it asks about, and the protocol it is to be answered in.

Four protocols, told apart by what is sent:

plain   text/plain: the body is the text
native  {"text": ...}, {"text": [...]}, or a list of texts or of {"text": ...}
v1      KServe's first: {"instances": [...]}, texts or {"text": ...}
v2      KServe's second (Open Inference Protocol): {"inputs": [{"name": "text", ...}]}
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from serve.problems import Problem

Protocol = Literal["plain", "native", "v1", "v2"]

JSON_TYPE = "application/json"
PLAIN_TYPE = "text/plain"
NATIVE_FIELDS = ("text", "explain")
V1_FIELDS = ("instances", "parameters")
V2_FIELDS = ("id", "inputs", "outputs", "parameters")
TENSOR_FIELDS = ("name", "shape", "datatype", "parameters", "data")


@dataclass(frozen=True)
class Limits:
    """What a request may ask for. Bytes are of UTF-8."""

    body_bytes: int = 1 << 20
    text_bytes: int = 1 << 16
    items: int = 256
    explained_items: int = 1  # an explanation costs one pass a token


@dataclass(frozen=True)
class Request:
    """`items` are the texts, or what is wrong with each; `single`: one was asked for by itself."""

    protocol: Protocol
    items: Sequence[str | Problem]
    single: bool = False
    explain: bool = False
    id: str | None = None  # v2: given back


def read_request(body: Any, content_type: str | None, limits: Limits) -> Request:
    """Reads one request.

    Args:
        body: bytes; or, where TorchServe has decoded it, a str (text/plain) or a JSON value.
        content_type: the header, None where there is none.

    Raises:
        Problem: the request as a whole cannot be answered. A bad item of a list is no reason,
            except in v2, whose tensors have no place for an error.
    """
    media = _media_type(content_type)
    if isinstance(body, (bytes, bytearray)):
        if len(body) > limits.body_bytes:
            raise _too_large("body", len(body), limits.body_bytes, "send fewer texts a request")
        body = _decode_plain(body) if media == PLAIN_TYPE else _decode_json(body)
    if media == PLAIN_TYPE:
        return Request("plain", [_item(body, "body", limits)], single=True)
    request = _read_json(body, limits)
    if request.explain and len(request.items) > limits.explained_items:
        raise Problem(
            413,
            "too_many_items",
            f"explain: {len(request.items)} texts, of which at most {limits.explained_items} can "
            "be explained in a request; send them one by one",
            "explain",
        )
    return request


@lru_cache(maxsize=64)  # nearly all requests say the same
def _media_type(content_type: str | None) -> str:
    kind, *parameters = (part.strip().lower() for part in (content_type or "").split(";"))
    charsets = [each.replace('"', "") for each in parameters if each.startswith("charset=")]
    if set(charsets) <= {"charset=utf-8", "charset=utf8", "charset=us-ascii"}:
        if kind == JSON_TYPE or (kind.startswith("application/") and kind.endswith("+json")):
            return JSON_TYPE
        if kind == PLAIN_TYPE:
            return PLAIN_TYPE
    raise Problem(
        415,
        "unsupported_media_type",
        f"Content-Type: send {JSON_TYPE}, or {PLAIN_TYPE} in UTF-8",
        "Content-Type",
    )


def _decode_plain(body: bytes | bytearray) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(
            422, "invalid_text", f"body: not UTF-8 at byte {error.start}; encode it so", "body"
        ) from None


def _decode_json(body: bytes | bytearray) -> Any:
    try:
        return _read(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
    except json.JSONDecodeError as error:
        reason = f"{error.msg.lower()} at character {error.pos}"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError:  # an integer of thousands of digits
        reason = "a number with too many digits"
    raise Problem(400, "not_json", f"body: not JSON: {reason}", "body")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One of whose fields none would be dropped unseen."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Problem(422, "duplicate_field", "body: a field is there twice; send it once", "body")
    return found


_read = json.JSONDecoder(object_pairs_hook=_object).decode  # made once: it costs as much as reading


def _read_json(body: Any, limits: Limits) -> Request:
    if isinstance(body, list):
        return Request("native", _items(body, "body", limits))
    if not isinstance(body, dict):
        raise Problem(
            422,
            "wrong_type",
            f'body: {kind(body)}; send {{"text": ...}}, a list of texts, {{"instances": [...]}} '
            'or {"inputs": [...]}',
            "body",
        )
    if "instances" in body:
        return _read_v1(body, limits)
    if "inputs" in body:
        return _read_v2(body, limits)
    _refuse_unknown(body, NATIVE_FIELDS, "")
    explain = _flag(body, "explain", "explain")
    if isinstance(body.get("text"), list):
        return Request("native", _items(body["text"], "text", limits), explain=explain)
    return Request("native", [_item(body, "", limits)], single=True, explain=explain)


def _read_v1(body: dict[str, Any], limits: Limits) -> Request:
    _refuse_unknown(body, V1_FIELDS, "")
    explain = _explain_parameter(body)
    return Request("v1", _items(body["instances"], "instances", limits), explain=explain)


def _read_v2(body: dict[str, Any], limits: Limits) -> Request:
    _refuse_unknown(body, V2_FIELDS, "")
    inputs = body["inputs"]
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Problem(422, "wrong_type", "inputs: send a list of one tensor", "inputs")
    tensor = inputs[0]
    _refuse_unknown(tensor, TENSOR_FIELDS, "inputs[0]")
    if tensor.get("name") != "text":
        raise Problem(422, "wrong_value", 'inputs[0].name: send "text"', "inputs[0].name")
    if tensor.get("datatype") != "BYTES":
        raise Problem(422, "wrong_value", 'inputs[0].datatype: send "BYTES"', "inputs[0].datatype")
    request_id = body.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise Problem(422, "wrong_type", f"id: {kind(request_id)}; send a string", "id")
    _encoded(request_id or "", "id")
    data = tensor.get("data")
    if isinstance(data, list) and data and all(isinstance(row, list) for row in data):
        data = [row[0] if len(row) == 1 else row for row in data]  # shape [N, 1], nested
    texts = _items(data, "inputs[0].data", limits)
    if tensor.get("shape") not in ([len(texts)], [len(texts), 1]):
        raise Problem(
            422,
            "wrong_value",
            f"inputs[0].shape: send [{len(texts)}], the number of texts in data",
            "inputs[0].shape",
        )
    for text in texts:
        if isinstance(text, Problem):
            raise text
    return Request("v2", texts, explain=_explain_parameter(body), id=request_id)


def _items(value: Any, field: str, limits: Limits) -> list[str | Problem]:
    if not isinstance(value, list):
        raise Problem(422, "wrong_type", f"{field}: {kind(value)}; send a list of texts", field)
    if not value:
        raise Problem(422, "no_items", f"{field}: empty; send at least one text", field)
    if len(value) > limits.items:
        raise Problem(
            413,
            "too_many_items",
            f"{field}: {len(value)} texts, at most {limits.items} are taken; send several requests",
            field,
        )
    items: list[str | Problem] = []
    for index, each in enumerate(value):
        try:
            items.append(_item(each, f"{field}[{index}]", limits))
        except Problem as problem:
            items.append(problem)
    return items


def _item(value: Any, field: str, limits: Limits) -> str:
    """The text of one item: a text, or an object with one."""
    if isinstance(value, dict):
        inner = f"{field}.text" if field else "text"
        _refuse_unknown(value, ("text",) if field else NATIVE_FIELDS, field)
        if "text" not in value:
            raise Problem(422, "missing_field", f"{inner}: missing; send the text in it", inner)
        return checked_text(value["text"], inner, limits)
    return checked_text(value, field, limits)


def checked_text(value: Any, field: str, limits: Limits) -> str:
    """The text itself. Raises `Problem` where it is none that an endpoint scores."""
    if not isinstance(value, str):
        raise Problem(422, "wrong_type", f"{field}: {kind(value)}; send a string", field)
    if len(value) > limits.text_bytes:  # before encoding it: no copy of what is far too long
        raise _too_large(field, len(value), limits.text_bytes, "cut it")
    size = len(_encoded(value, field))
    if size > limits.text_bytes:
        raise _too_large(field, size, limits.text_bytes, "cut it")
    if "\0" in value:
        raise Problem(
            422, "invalid_text", f"{field}: a NUL at character {value.index(chr(0))}", field
        )
    if not value.strip():
        raise Problem(422, "empty_text", f"{field}: empty; send a text with a word in it", field)
    return value


def _encoded(value: str, field: str) -> bytes:
    """In UTF-8, which has no lone surrogates; JSON can say them."""
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Problem(
            422,
            "invalid_text",
            f"{field}: a lone surrogate at character {error.start}; send valid Unicode",
            field,
        ) from None


def _refuse_unknown(value: dict[str, Any], known: Sequence[str], field: str) -> None:
    if not value.keys() <= set(known):  # not named: what was sent never comes back, nor is logged
        where = field or "body"
        count = len(value.keys() - set(known))
        raise Problem(
            422,
            "unknown_field",
            f"{where}: {count} unknown field(s); known are {', '.join(known)}",
            where,
        )


def _explain_parameter(body: dict[str, Any]) -> bool:
    parameters = body.get("parameters", {})
    if not isinstance(parameters, dict):
        raise Problem(
            422, "wrong_type", f"parameters: {kind(parameters)}; send an object", "parameters"
        )
    return _flag(parameters, "explain", "parameters.explain")


def _flag(values: dict[str, Any], name: str, field: str) -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise Problem(422, "wrong_type", f"{field}: {kind(value)}; send true or false", field)
    return value


def _too_large(field: str, size: int, limit: int, advice: str) -> Problem:
    return Problem(
        413, "too_large", f"{field}: {size} bytes, at most {limit} are taken; {advice}", field
    )


def kind(value: Any) -> str:
    """What a JSON value is, in JSON's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "missing")
