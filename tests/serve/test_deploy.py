"""The deployment's files, as far as they can be checked without a cluster."""

import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import yaml

from serve.__main__ import _parser
from serve.flags import parse_model
from serve.instance import _metrics
from serve.metrics import COUNTERS
from serve.triton_command import main as triton_main

DEPLOY = Path(str(files("serve").joinpath("deploy")))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def deployment() -> dict[str, Any]:
    found = documents(DEPLOY / "kubernetes" / "deployment.yaml")
    return next(each for each in found if each["kind"] == "Deployment")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_objects_of_kubernetes(path: Path, tmp_path: Path) -> None:
    for each in documents(path):
        assert {"apiVersion", "kind", "metadata", "spec"} <= each.keys()
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("needs kubectl to read them as Kubernetes does")
    shutil.copy(path, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(f"resources: [{path.name}]\n")
    done = subprocess.run([kubectl, "kustomize", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(yaml.safe_load_all(done.stdout))) == len(documents(path))


def test_the_deployments_parts_belong_together() -> None:
    spec = deployment()["spec"]
    template = spec["template"]
    labels = template["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    volumes = {each["name"] for each in template["spec"]["volumes"]}
    containers = template["spec"]["containers"]
    mounted = {mount["name"] for each in containers for mount in each["volumeMounts"]}
    assert mounted == volumes
    for each in containers:
        assert each["securityContext"]["allowPrivilegeEscalation"] is False
        assert "memory" in each["resources"]["limits"]
    for each in documents(DEPLOY / "kubernetes" / "deployment.yaml"):
        if each["kind"] == "Service":
            assert each["spec"]["selector"] == labels
            ports = {port["name"] for c in containers for port in c.get("ports", [])}
            assert each["spec"]["ports"][0]["targetPort"] in ports


def test_the_deployment_calls_the_command_as_it_is() -> None:
    endpoint = deployment()["spec"]["template"]["spec"]["containers"][0]
    options = _parser().parse_args(endpoint["args"])
    assert parse_model(options.bundles[0]).name == "sentiment"
    grace = deployment()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > options.drain_timeout
    assert endpoint["readinessProbe"]["exec"]["command"][1:] == ["-m", "serve", "health"]


def test_the_container_file_copies_what_serving_needs() -> None:
    text = (DEPLOY / "endpoint.Dockerfile").read_text()
    for package in ("models", "export", "serve"):
        assert f"COPY {package} {package}" in text
    assert "USER 10001" in text and "STOPSIGNAL SIGTERM" in text


def known_metrics() -> set[str]:
    configured = _metrics()["ts_metrics"]["counter"]  # type: ignore[index, call-overload]
    return set(COUNTERS) | {each["name"] for each in configured} | {"up"}


@pytest.mark.parametrize("name", ["prometheus_alerts.yaml", "grafana_dashboard.json"])
def test_queries_ask_for_metrics_and_labels_that_exist(name: str) -> None:
    content = yaml.safe_load((DEPLOY / name).read_text())  # JSON is YAML
    if name.endswith(".yaml"):
        queries = [rule["expr"] for group in content["groups"] for rule in group["rules"]]
    else:
        queries = [target["expr"] for panel in content["panels"] for target in panel["targets"]]
        assert json.loads((DEPLOY / name).read_text()) == content
    labels = {"instance", "job", "model_name", "ModelName", "ModelVersion"}
    labels |= {label for names in COUNTERS.values() for label in names}
    assert queries
    for query in queries:
        metrics = set(re.findall(r"\b(\w+)\{", query)) | set(re.findall(r"rate\((\w+)", query))
        assert metrics and metrics <= known_metrics(), query
        for group in re.findall(r"by \(([^)]*)\)", query):
            assert {each.strip() for each in group.split(",")} <= labels, query
        assert query.count("(") == query.count(")")


def test_a_triton_repository_is_written_whole(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = tmp_path / "repository"
    arguments = [str(bundle), str(repository), "--name", "tiny"]
    assert triton_main(arguments) == 0
    model = repository / "tiny"
    found = sorted(str(path.relative_to(model)) for path in model.rglob("*") if path.is_file())
    assert found == ["1/model.onnx", "config.pbtxt", "labels.txt", "tokenizer.json"]
    assert (model / "1" / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    config = (model / "config.pbtxt").read_text()
    session = onnxruntime.InferenceSession(
        model / "1" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    for each in [*session.get_inputs(), *session.get_outputs()]:
        assert f'name: "{each.name}"' in config
    assert config.count("TYPE_INT64") == 2 and config.count("TYPE_FP32") == 1
    assert "dims: [ 2 ]" in config and config.count("{") == config.count("}")
    assert triton_main(arguments) == 2
    assert "is there already" in capsys.readouterr().err
    assert [path.name for path in repository.iterdir()] == ["tiny"]
