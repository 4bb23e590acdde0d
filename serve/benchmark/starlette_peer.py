"""Starlette on uvicorn with micro-batching: what one would write oneself."""

import asyncio
import json
import multiprocessing
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serve.benchmark.peers import BATCH_DELAY, BATCH_SIZE, PATH, answer
from serve.predictor import Predictor, open_predictor


class MicroBatcher:
    """Collects requests of an event loop into batches, computed by one thread."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.queue: asyncio.Queue[tuple[str, asyncio.Future[list[float]]]] = asyncio.Queue()
        self.thread = ThreadPoolExecutor(1)

    async def ask(self, text: str) -> list[float]:
        """The probabilities of a text."""
        future = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((text, future))
        return list(await future)

    async def work(self) -> None:
        """Batches for ever."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self.queue.get()]
            deadline = loop.time() + BATCH_DELAY
            while len(batch) < BATCH_SIZE:
                if self.queue.empty() and (left := deadline - loop.time()) > 0:
                    with suppress(TimeoutError):
                        batch.append(await asyncio.wait_for(self.queue.get(), left))
                    continue
                if self.queue.empty():
                    break
                batch.append(self.queue.get_nowait())
            rows = await loop.run_in_executor(
                self.thread, self.predictor.predict, [text for text, _ in batch]
            )
            for (_, future), row in zip(batch, rows.tolist(), strict=True):
                if not future.cancelled():
                    future.set_result(row)


def run(bundle: str, port: int, workers: int) -> None:
    """Starlette on uvicorn, with uvloop and httptools where they are, and no access log.

    As `uvicorn --workers` does it: processes that accept on one socket.
    """
    listener = socket.socket()  # uvicorn makes it listen, once it is ready
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    processes = multiprocessing.get_context("fork")
    children = [processes.Process(target=_serve, args=(bundle, listener)) for _ in range(workers)]
    for each in children:
        each.start()
    for each in children:
        each.join()


def _serve(bundle: str, listener: socket.socket) -> None:
    predictor = open_predictor(bundle, threads=1)
    batcher = MicroBatcher(predictor)

    async def predict(request: Request) -> Response:
        text = json.loads(await request.body())["text"]
        body = json.dumps(answer(await batcher.ask(text), predictor.labels)).encode()
        return Response(body, media_type="application/json")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.work())
        yield
        task.cancel()

    app = Starlette(routes=[Route(PATH, predict, methods=["POST"])], lifespan=lifespan)
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
