"""TorchServe's door to the classifier: one class, thin, as TorchServe asks of a handler's module.

It runs inside an archive (see `serve.archive`), in an environment that may lack this project.
"""

import json
import os
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from serve import buffered_socket
from serve.classifier import TextClassifier
from serve.engine import open_artefact
from serve.metrics import Tally
from serve.problems import Problem, internal_problem
from serve.requests import Limits, read_request
from serve.responses import Identity, Response, answer

CONFIG = "serving.json"  # written by `serve.archive`
_to_json = json.JSONEncoder(ensure_ascii=False).encode


class Handler:
    """`initialize` once a worker, then `handle` for each batch of requests."""

    def initialize(self, context: Any) -> None:
        """Loads the artefact that lies in the archive, and scores one text to warm up."""
        folder = Path(context.system_properties["model_dir"])
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        self.classifier = TextClassifier(
            Tokenizer.from_file(str(folder / "tokenizer.json")),
            open_artefact(folder / config["artefact"], config["threads"], config["skips_padding"]),
            config["labels"],
            config["max_length"],
        )
        self.classifier.predict(["warm up"])
        self.limits = Limits(**config["limits"])
        self.identity = Identity(context.model_name, context.manifest["model"]["modelVersion"])
        self.tally = Tally(context.metrics, self.identity)
        if os.environ.get(buffered_socket.SWITCH) == "1":
            buffered_socket.install()
            # A line a batch, which the front end parses; the tally has its sum.
            context.metrics.add_time = lambda *_, **__: None

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """One JSON answer a request, in order; a request that fails, fails alone."""
        requests = [self._read(each, context, i) for i, each in enumerate(data)]
        with self.tally.timed():
            responses, scores = answer(requests, self.classifier, self.identity)
        sent = [_encode(response) for response in responses]
        self.tally.add([response for response, _ in sent], scores)
        for index, (response, _) in enumerate(sent):
            context.set_response_content_type(index, "application/json")
            if response.status != 200:
                context.set_response_status(response.status, "", index)
        return [content for _, content in sent]

    def _read(self, data: dict[str, Any], context: Any, index: int) -> Any:
        headers = context.get_all_request_header(index)
        # TorchServe puts what it says of parameters, of forms and queries, among them: no strings.
        sent = {n.lower(): value for n, value in headers.items() if isinstance(value, str)}
        try:
            if sent.get("content-encoding", "identity").lower() != "identity":
                raise Problem(
                    415,
                    "unsupported_encoding",
                    "Content-Encoding: compressed bodies are not taken; send it as it is",
                    "Content-Encoding",
                )
            if "body" in data:
                return read_request(data["body"], sent.get("content-type"), self.limits)
            raise Problem(  # a form: its fields are parameters, there is no body
                415,
                "unsupported_media_type",
                "Content-Type: forms are not taken; send application/json or text/plain",
                "Content-Type",
            )
        except Problem as problem:
            return problem
        except Exception as error:
            return internal_problem(error)


def _encode(response: Response) -> tuple[Response, bytes]:
    """The answer and its bytes; another answer where it has none."""
    try:
        return response, _to_json(response.body).encode("utf-8")
    except Exception as error:
        problem = internal_problem(error)
        body = problem.as_dict()
        return Response(problem.status, body, (problem.code,)), _to_json(body).encode("utf-8")
