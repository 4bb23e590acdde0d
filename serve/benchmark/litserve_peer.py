"""LitServe with its own batching."""

import os
from typing import Any

import litserve

from serve.benchmark.peers import BATCH_DELAY, BATCH_SIZE, answer
from serve.predictor import open_predictor

_BUNDLE = "TEXT_CLASSIFIER_BENCHMARK_BUNDLE"  # LitServe makes the class anew in its processes


class Api(litserve.LitAPI):
    """The predictor behind LitServe's calls."""

    def setup(self, device: str) -> None:
        """Opens the predictor, in the worker."""
        self.predictor = open_predictor(os.environ[_BUNDLE], threads=1)

    def decode_request(self, request: dict[str, Any]) -> str:
        """The text."""
        return str(request["text"])

    def batch(self, inputs: list[str]) -> list[str]:
        """Texts as they are: nothing to stack."""
        return inputs

    def predict(self, x: list[str]) -> list[list[float]]:
        """The probabilities of each."""
        rows: list[list[float]] = self.predictor.predict(x).tolist()
        return rows

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        """As they are."""
        return output

    def encode_response(self, output: list[float]) -> dict[str, Any]:
        """One answer."""
        return answer(output, self.predictor.labels)


def run(bundle: str, port: int, workers: int) -> None:
    """Serves until told to stop."""
    os.environ[_BUNDLE] = bundle
    api = Api(max_batch_size=BATCH_SIZE, batch_timeout=BATCH_DELAY)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers, fast_queue=True)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")
