"""What every test may ask for."""

import os
from pathlib import Path

import pytest
import torch

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    # Workers share the cores, and sums have one order, as in the processes that tests start.
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real reviews beside the checkout, which no repository carries."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real reviews in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture
def environment() -> dict[str, str]:
    """One thread and no GPU: sums have one order, and runs can be equal to the last bit."""
    return os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
                         "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
