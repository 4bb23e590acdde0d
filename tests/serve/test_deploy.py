"""The deployment's files, as far as they can be checked without a cluster."""

import functools
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import yaml

from models.files import write_whole
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


def filled_in() -> str:
    """nginx.conf after the command that the manifest's comment gives."""
    text = (DEPLOY / "nginx.conf").read_text()
    manifest = (DEPLOY / "kubernetes" / "deployment.yaml").read_text()
    for mark, value in re.findall(r"-e 's\|(@\w+@)\|([^|']+)\|'", manifest):
        assert mark in text
        text = text.replace(mark, value)
    settings = "".join(line for line in text.splitlines(True) if not line.startswith("#"))
    assert not re.findall(r"@[A-Z_]+@", settings)
    return settings


def test_the_proxy_reads_the_token_where_the_endpoint_writes_it() -> None:
    endpoint, proxy = deployment()["spec"]["template"]["spec"]["containers"]
    token = _parser().parse_args(endpoint["args"]).nginx_token_file
    shell, script, config, watched = proxy["command"]
    assert shell == "sh" and (DEPLOY / Path(script).name).exists() and config.endswith("nginx.conf")
    assert watched == str(token) and f"include {token};" in filled_in()
    mounts = {
        each["name"]: {mount["name"] for mount in each["volumeMounts"]
                       if mount["mountPath"] in (str(token.parent), script, config)}
        for each in (endpoint, proxy)
    }  # fmt: skip
    assert mounts["endpoint"] & mounts["proxy"] == {"token"} and "nginx" in mounts["proxy"]
    # the file is for its owner alone: one user for both
    assert not any("runAsUser" in each["securityContext"] for each in (endpoint, proxy))


def test_what_the_proxy_listens_on_is_let_through_and_reaches_the_endpoint() -> None:
    _, proxy = deployment()["spec"]["template"]["spec"]["containers"]
    listening = set(map(int, re.findall(r"listen \S+:(\d+)", filled_in())))
    named = {each["name"]: each["containerPort"] for each in proxy["ports"]}
    assert listening == set(named.values())
    for each in documents(DEPLOY / "kubernetes" / "deployment.yaml"):
        if each["kind"] == "Service":
            assert {port["targetPort"] for port in each["spec"]["ports"]} == set(named)
        if each["kind"] == "NetworkPolicy":
            rules = each["spec"]["ingress"]
            assert {port["port"] for rule in rules for port in rule["ports"]} == listening
            (metrics,) = (rule for rule in rules if rule["ports"][0]["port"] == named["metrics"])
            assert metrics["from"]  # not everybody
    options = _parser().parse_args(["x"])
    assert f"server 127.0.0.1:{options.port};" in filled_in()
    assert f"proxy_pass http://127.0.0.1:{options.metrics_port};" in filled_in()


NGINX = """#!{python}
import os, signal, sys, time
def say(what):
    with open({said!r}, "a") as file:
        file.write(what + "\\n")
def end(*_):
    say("ended")
    sys.exit(3)
signal.signal(signal.SIGHUP, lambda *_: say("reloaded"))
signal.signal(signal.SIGQUIT, end)
say("started " + " ".join(sys.argv[1:]))
while not os.path.exists({said!r} + ".die"):
    time.sleep(0.02)
end()
"""


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGQUIT", "nginx dies"])
def test_the_proxys_script_waits_for_the_token_follows_it_and_ends_with_nginx(
    tmp_path: Path, ending: str
) -> None:
    said, token = tmp_path / "said", tmp_path / "token.conf"
    nginx = tmp_path / "nginx"
    nginx.write_text(NGINX.format(python=sys.executable, said=str(said)))
    nginx.chmod(0o755)
    command = ["/bin/sh", str(DEPLOY / "proxy.sh"), "x.conf", str(token)]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    # Where the tests run in the background, a shell would inherit, and keep, SIGQUIT ignored.
    heeded = functools.partial(signal.signal, signal.SIGQUIT, signal.SIG_DFL)
    with subprocess.Popen(command, env=environment, preexec_fn=heeded) as running:
        try:
            time.sleep(0.3)
            assert not said.exists()
            write_whole(token, b"first")
            expect(said, ["started -e stderr -c x.conf -g daemon off;"])
            token.unlink()  # as while the endpoint starts again
            time.sleep(1.2)
            write_whole(token, b"second")
            expect(said, ["started -e stderr -c x.conf -g daemon off;", "reloaded"])
            if ending == "nginx dies":
                Path(f"{said}.die").touch()
            else:
                running.send_signal(getattr(signal, ending))
            assert running.wait(60) == 3  # nginx's own
        finally:
            Path(f"{said}.die").touch()  # nginx is not the script's to kill where it failed
            running.kill()
    assert said.read_text().splitlines()[2:] == ["ended"]


def expect(path: Path, lines: list[str]) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() or path.read_text().splitlines() != lines:
        assert time.monotonic() < deadline, path.exists() and path.read_text()
        time.sleep(0.05)


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


def test_a_triton_repository_takes_no_other_tokenizer(
    own_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_bundle / "tokenizer.json").write_bytes(b"{}")
    assert triton_main([str(own_bundle), str(tmp_path / "repository")]) == 2
    assert "tokenizer.json: not the one that config.json names" in capsys.readouterr().err
    assert not (tmp_path / "repository").exists()


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


def test_a_triton_model_gets_another_version(
    bundle: Path, own_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    certify: Callable[..., None],
) -> None:  # fmt: skip
    arguments = [str(bundle), str(tmp_path / "repository"), "--name", "tiny"]
    assert triton_main(arguments) == 0
    model = tmp_path / "repository" / "tiny"
    shared = (model / "config.pbtxt").read_bytes()
    proto = onnx.load(own_bundle / "model.onnx")
    proto.doc_string = "another"
    onnx.save(proto, own_bundle / "model.onnx")
    certify(own_bundle, "model.onnx")
    arguments[0] = str(own_bundle)
    assert triton_main([*arguments, "--version", "2"]) == 0
    for version, source in ((1, bundle), (2, own_bundle)):
        content = (model / str(version) / "model.onnx").read_bytes()
        assert content == (source / "model.onnx").read_bytes()
    assert (model / "config.pbtxt").read_bytes() == shared
    # what all versions share is not replaced under them
    (model / "labels.txt").write_text("positive\nnegative\n")
    assert triton_main([*arguments, "--version", "3"]) == 2
    assert "labels.txt: is not this bundle's" in capsys.readouterr().err
    assert sorted(path.name for path in model.iterdir() if path.is_dir()) == ["1", "2"]
    assert [path.name for path in (tmp_path / "repository").iterdir()] == ["tiny"]


@pytest.mark.parametrize("name", ['q"x', "a b", "../evil", ""])
def test_a_triton_name_that_is_no_folders_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert triton_main([str(bundle), str(tmp_path / "repository"), "--name", name]) == 2
    assert f"model name: got {name!r}" in capsys.readouterr().err
    assert not (tmp_path / "repository").exists()
