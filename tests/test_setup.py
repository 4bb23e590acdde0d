"""The environment is the one that the set-up promises, and its ONNX Runtime is whole and quiet."""

import subprocess
import sys
import sysconfig
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "text-classifier-audit"


def onnx_runtimes(requirements: list[str], environment: dict[str, str]) -> list[str]:
    """Those of the requirements that are an ONNX Runtime and hold in the environment."""
    parsed = [Requirement(line) for line in requirements]
    return [
        each.name
        for each in parsed
        if each.name.startswith("onnxruntime")
        and (each.marker is None or each.marker.evaluate(environment))
    ]


def project_requirements() -> list[str]:
    try:
        found = requires(PROJECT)
    except PackageNotFoundError:
        pytest.skip(f"{PROJECT} is not installed here: make setup installs it")
    assert found
    return found


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("linux", "x86_64", ["onnxruntime-gpu"]),
        ("linux", "aarch64", ["onnxruntime"]),
        ("darwin", "arm64", ["onnxruntime"]),
        ("darwin", "x86_64", ["onnxruntime"]),
        ("win32", "AMD64", ["onnxruntime"]),
    ],
)
def test_each_platform_asks_for_one_onnx_runtime(
    system: str, machine: str, expected: list[str]
) -> None:
    environment = default_environment() | {
        "sys_platform": system,
        "platform_machine": machine,
        "extra": "",
    }
    assert onnx_runtimes(project_requirements(), environment) == expected


def test_exactly_one_onnx_runtime_is_installed() -> None:
    installed = {canonicalize_name(each.name) for each in distributions()}
    assert len({name for name in installed if name.startswith("onnxruntime")}) == 1


def test_installed_versions_are_those_of_the_constraints() -> None:
    if not (Path(sys.prefix) / ".ready").exists():
        pytest.skip("this environment was not made by `make setup`, which installs the pins")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): pin for name, pin in pins.items()}
    # Not what a test has put on the path: setuptools, once imported, adds copies of its own.
    site = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    # A local suffix tells the build (+cpu), not the version.
    installed = {
        canonicalize_name(each.name): Version(each.version).public
        for each in distributions(path=site)
    }
    differing = {
        name: f"{installed[name]} installed, {pin} pinned"
        for name, pin in pins.items()
        if name in installed and installed[name] != pin
    }
    assert not differing
    unpinned = installed.keys() - pins.keys() - {"pip", PROJECT}
    # What a CUDA build of torch brings, it pins itself.
    assert not {name for name in unpinned if not name.startswith(("cuda", "nvidia", "triton"))}


def test_a_cpu_session_of_onnx_runtime_computes_and_says_nothing() -> None:
    program = """
import numpy, onnxruntime
from onnx import TensorProto, helper
values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negate", values[:1], values[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
session = onnxruntime.InferenceSession(
    model.SerializeToString(), providers=["CPUExecutionProvider"]
)
assert session.get_providers() == ["CPUExecutionProvider"]
(y,) = session.run(None, {"x": numpy.array([1, -2], numpy.float32)})
print(y.tolist())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[-1.0, 2.0]\n", "")


def test_every_data_file_of_a_package_is_declared() -> None:
    """What is not Python reaches an installed package only through `options.package_data`."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    includes = config["options.packages.find"]["include"].split()
    packages = [path for pattern in includes for path in ROOT.glob(pattern) if path.is_dir()]
    assert packages
    for package in packages:
        patterns = config["options.package_data"].get(package.name, "").split()
        declared = {path for pattern in patterns for path in package.glob(pattern)}
        data = {path for path in package.rglob("*.*") if path.suffix not in (".py", ".pyc")}
        assert data == declared
