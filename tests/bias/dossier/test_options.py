"""What is shipped: which figures hold for a backend, and which do not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from bias.dossier.candidates import read_candidates
from bias.dossier.evidence import Missing, gather
from bias.dossier.options import NO_BACKEND, Option, options_of
from bias.dossier.sections import bias_section
from bias.section import Estimate
from bias.targets import Target
from export.formats import FORMATS
from training.results.runs import read_run

MakeRun = Callable[..., Path]
BIAS = {"flip_rate": (0.01, 0.005, 0.02)}
DOCS = Path(__file__).resolve().parents[3] / "docs"


def _options(*runs: Path) -> dict[str, Option]:
    (candidate,) = read_candidates(list(runs))
    return {option.backend: option for option in options_of(candidate)}


def _estimate(option: Option, metric: str) -> Estimate:
    figure = option.figures[metric]
    assert isinstance(figure, Estimate), figure
    return figure


def _missing(option: Option, metric: str) -> Missing:
    figure = option.figures[metric]
    assert isinstance(figure, Missing), figure
    return figure


def test_times_are_those_of_one_thread_with_tokenising(whole: MakeRun) -> None:
    option = _options(whole("gru"))["onnx"]
    assert option.value("p50_ms") == pytest.approx(1.25)
    assert option.value("p99_ms") == pytest.approx(2.25)
    assert option.value("reviews_per_second") == pytest.approx(1 / (1 / 2000 + 0.25 / 1000))
    assert option.value("memory_mb") == pytest.approx(300)
    assert option.value("artefact_mb") == pytest.approx(0.01, rel=1e-3)


def test_an_audit_holds_for_backends_of_the_same_arithmetic_only(whole: MakeRun) -> None:
    options = _options(whole("gru", certified=("onnx", "onnx-int8"),
                             p50={"eager": 4.0, "onnx": 1.0, "onnx-int8": 0.5}))  # fmt: skip
    for backend in ("eager", "onnx"):
        found = _estimate(options[backend], "flip_rate")
        assert (found.value, found.low, found.high, found.noise) == (0.01, 0.005, 0.02, 0.01)
    missing = _missing(options["onnx-int8"], "flip_rate")
    assert missing.command is not None and "best@onnx-int8" in missing.command


def test_a_coarser_backend_widens_accuracy_by_the_labels_it_may_change(whole: MakeRun) -> None:
    options = _options(whole("gru", certified=("onnx", "onnx-int8"), changed=0.005))
    plain, coarse = (_estimate(options[b], "accuracy") for b in ("onnx", "onnx-int8"))
    most = stats.binomtest(10, 2000).proportion_ci(method="wilson").high
    assert plain.low - coarse.low == pytest.approx(most)
    assert coarse.high - plain.high == pytest.approx(most)
    assert _missing(options["onnx-int8"], "calibration_error").short == "checkpoint only"
    assert _missing(options["onnx-int8"], "out_of_domain_accuracy").command is None


def test_a_changed_artefact_is_no_option(whole: MakeRun) -> None:
    run = whole("gru")
    (run / "best" / "model.onnx").write_bytes(b"another")
    assert list(_options(run)) == ["eager"]
    certificate = gather(read_run(run)).certificates["onnx"]
    assert isinstance(certificate, Missing) and "changed after its proof" in certificate.why


def test_an_artefact_without_any_certificate_is_no_option(whole: MakeRun) -> None:
    run = whole("gru", p50={"eager": 4.0, "compiled": 3.0, "onnx": 1.0})
    (run / "best" / "model.onnx").unlink()
    (run / "best" / "parity.json").unlink()
    assert set(_options(run)) == {"eager", "compiled"}


def test_another_seeds_benchmark_makes_no_option_of_what_was_not_exported(
    make_run: MakeRun, whole: MakeRun
) -> None:
    audited = make_run("a", experiment="gru", certified=(), audits={"eager": BIAS})
    measured = whole("b", experiment="gru", seed=1, audits=None)
    assert set(_options(audited, measured)) == {"eager"}


def test_a_refused_export_is_not_shipped_before_a_proved_one(whole: MakeRun) -> None:
    damaged = whole("a", experiment="gru", validation=0.95)
    (damaged / "best" / "model.onnx").write_bytes(b"another")
    proved = whole("b", experiment="gru", seed=1)
    (candidate,) = read_candidates([damaged, proved])
    assert candidate.shipped.folder == proved


def test_what_was_measured_on_a_gpu_meets_no_threshold_of_a_cpu(whole: MakeRun) -> None:
    run = whole("gru")
    _change(run / "benchmark" / "benchmark.json", lambda found: found.update(device="cuda"))
    assert "measured on cuda" in _missing(_options(run)["onnx"], "p50_ms").why


def test_accuracy_of_another_bundle_is_refused(whole: MakeRun) -> None:
    run, other = whole("gru"), whole("other")
    own = json.loads((run / "best" / "config.json").read_text())["weights_sha256"]
    _change(run / "result.json", lambda result: result["best"].update(weights_sha256=own))
    assert "onnx" in _options(run)
    shutil.rmtree(run / "best")
    shutil.copytree(other / "best", run / "best")
    with pytest.raises(ValueError, match=r"result\.json is of weights .*: two models"):
        gather(read_run(run))


def test_a_bundle_without_its_weights_is_refused(whole: MakeRun) -> None:
    run = whole("gru")
    weights = run / "best" / "model.safetensors"
    weights.write_bytes(b"others")
    with pytest.raises(ValueError, match=r"has other bytes than config\.json says"):
        gather(read_run(run))
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        gather(read_run(run))


@pytest.mark.parametrize("backend", ["onnx", "onnx-int8"])
def test_what_was_found_of_an_earlier_export_is_not_this_ones(whole: MakeRun, backend: str) -> None:
    run = whole("gru", certified=("onnx", "onnx-int8"), audits={backend: BIAS},
                p50={"eager": 4.0, "onnx": 1.0, "onnx-int8": 0.5})  # fmt: skip
    entry = json.loads((run / "best" / "parity.json").read_text())["artefacts"]
    now = entry[FORMATS[backend].filename]["sha256"]
    for of, same in ((now, True), ("0" * 64, False)):
        _change(run / "benchmark" / "benchmark.json",
                lambda found, of=of: found.update(artefact_sha256={backend: of}))  # fmt: skip
        _change(run / "audit" / "audit.json",
                lambda found, of=of: found["targets"][0].update(artefact_sha256=of))  # fmt: skip
        option = _options(run)[backend]
        assert isinstance(option.figures["p50_ms"], Estimate) == same
        # the same labels are given by whatever is proved to be exact
        assert isinstance(option.figures["flip_rate"], Estimate) == (same or backend == "onnx")


def test_groups_of_ones_own_are_named(whole: MakeRun) -> None:
    run = whole("gru")
    asked = {"identities": "our/groups.yaml", "text": "title"}
    _change(run / "audit" / "audit.json", lambda audit: audit["settings"].update(asked))
    (said, *_) = bias_section(list(_options(run).values())).findings
    assert "title alone, with the groups of groups.yaml in the place of ours" in said


def test_a_benchmark_without_cold_starts_and_with_peers_is_read(whole: MakeRun) -> None:
    run = whole("gru", p50={"eager": 4.0, "onnx": 1.0, "peer:plain.onnx": 2.0})
    path = run / "benchmark" / "benchmark.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cold_start": {}}))
    options = _options(run)
    assert set(options) == {"eager", "onnx"}  # a peer is measured beside, and not shipped
    assert _missing(options["onnx"], "memory_mb").why == "the benchmark made no cold starts"
    assert options["onnx"].value("p50_ms") == pytest.approx(1.25)


@pytest.mark.parametrize("what", ["benchmark", "audit"])
def test_what_was_made_of_other_weights_counts_as_missing(whole: MakeRun, what: str) -> None:
    run, other = whole("gru"), whole("other")
    shutil.copy(other / what / f"{what}.json", run / what / f"{what}.json")
    metric = {"benchmark": "p50_ms", "audit": "flip_rate"}[what]
    missing = _missing(_options(run)["onnx"], metric)
    assert "other weights" in missing.why
    assert missing.command is not None and f"--output {run / what}" in missing.command


def _change(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_advised_audit_asks_what_the_earlier_one_did(whole: MakeRun) -> None:
    """It goes to the same folder, and would otherwise replace it by one of other reviews."""
    run = whole("gru", certified=("onnx", "onnx-int8"))
    asked = {"reviews": "my data/shop", "text": "content", "most_reviews": 500, "seed": 0,
             "identities": None}  # fmt: skip
    _change(run / "audit" / "audit.json", lambda audit: audit["settings"].update(asked))
    assert _missing(_options(run)["onnx-int8"], "flip_rate").command == (
        f"python -m bias {run}/best@onnx {run}/best@onnx-int8 --reviews 'my data/shop' "
        f"--text content --most-reviews 500 --output {run}/audit")  # fmt: skip


def test_a_run_of_real_reviews_is_not_audited_on_embedded_ones(whole: MakeRun) -> None:
    run = whole("gru")
    path = run / "audit" / "audit.json"
    _change(path, lambda audit: audit["settings"].update(reviews="embedded:20000"))
    missing = _missing(_options(run)["onnx"], "group_gap")
    assert missing.why == "audited on embedded reviews only"
    assert missing.command == f"python -m bias {run}/best@onnx --reviews shop --output {run}/audit"


def test_a_run_of_embedded_reviews_is_audited_on_embedded_ones(whole: MakeRun) -> None:
    """As in `make demo`."""
    run = whole("gru", certified=("onnx", "onnx-int8"))
    _change(run / "audit" / "audit.json",
            lambda audit: audit["settings"].update(reviews="embedded:400"))  # fmt: skip
    _change(run / "result.json", lambda result: result["data"].update(sources=["embedded:8000"]))
    options = _options(run)
    assert _estimate(options["onnx"], "flip_rate").value == 0.01
    command = _missing(options["onnx-int8"], "flip_rate").command
    assert command is not None and "--reviews embedded:400" in command


def test_the_source_of_the_first_test_set_is_found_by_its_name(make_run: MakeRun) -> None:
    run = make_run("gru", certified=(), tests={"films": 0.0, "shop": 0.0},
                   config={"data": {"tests": ["data/films.csv"]}})  # fmt: skip
    _change(run / "result.json", lambda result: result["data"].update(sources=["data/shop"]))
    command = _missing(_options(run)["eager"], "flip_rate").command
    assert command is not None and "--reviews data/films.csv" in command


def test_the_bias_figures_always_say_of_which_reviews_they_are(whole: MakeRun) -> None:
    runs = [whole("gru"), whole("other")]
    same = [option for run in runs for option in _options(run).values()]
    assert bias_section(same).findings[0] == (
        "The audits rewrote reviews of shop, at most 300 a rewriting.")  # fmt: skip
    _change(runs[1] / "audit" / "audit.json",
            lambda audit: audit["settings"].update(reviews="data/films.csv"))  # fmt: skip
    different = [option for run in runs for option in _options(run).values()]
    assert "shop, at most 300 a rewriting (gru); films, at most 300 a rewriting (other)" in (
        bias_section(different).findings[0])  # fmt: skip


def test_what_was_never_measured_names_the_command_that_makes_it(make_run: MakeRun) -> None:
    run = make_run("gru", certified=())
    option = _options(run)["eager"]
    assert _missing(option, "p50_ms").command == (
        f"python -m export.benchmark {run}/best --output {run}/benchmark")  # fmt: skip
    assert _missing(option, "flip_rate").command == (
        f"python -m bias {run}/best --reviews shop --output {run}/audit")  # fmt: skip


def test_a_baseline_without_a_bundle_is_compared_but_has_no_backend(make_run: MakeRun) -> None:
    options = _options(make_run("tfidf", bundle=False))
    assert list(options) == [NO_BACKEND]
    assert _estimate(options[NO_BACKEND], "accuracy").value == pytest.approx(0.92)
    assert _missing(options[NO_BACKEND], "p50_ms").short == "no bundle"


def test_of_several_audited_seeds_the_worst_end_counts(whole: MakeRun) -> None:
    one = {"onnx": {"flip_rate": (0.01, 0.005, 0.02)}}
    two = {"onnx": {"flip_rate": (0.03, 0.02, 0.05)}}
    options = _options(whole("a", experiment="gru", audits=one),
                       whole("b", experiment="gru", seed=1, audits=two))  # fmt: skip
    found = _estimate(options["onnx"], "flip_rate")
    assert (found.value, found.low, found.high) == (pytest.approx(0.02), 0.005, 0.05)
    assert _missing(options["onnx"], "group_gap").why == "the audit has no group_gap"


def test_of_several_seeds_the_audited_one_is_shipped(make_run: MakeRun, whole: MakeRun) -> None:
    better = make_run("a", experiment="gru", validation=0.95, certified=())
    audited = whole("b", experiment="gru", seed=1, validation=0.90)
    (candidate,) = read_candidates([better, audited])
    assert candidate.shipped.folder == audited
    assert {option.backend for option in options_of(candidate)} == {"eager", "onnx"}


def test_without_tests_of_a_kind_the_figure_is_missing(whole: MakeRun) -> None:
    option = _options(whole("gru", tests={"shop": 0.0}))["onnx"]
    assert "--test SOURCE" in _missing(option, "out_of_domain_accuracy").why


def test_a_test_whose_texts_were_seen_without_labels_is_not_out_of_domain(whole: MakeRun) -> None:
    seen: dict[str, Any] = {"config": {"distill": {"unlabelled": ["data/films"]}}}
    missing = _missing(_options(whole("one", **seen))["onnx"], "out_of_domain_accuracy")
    assert missing.short == "seen without labels"
    assert "texts of films were seen without labels" in missing.why
    tests = {"shop": 0.0, "films": -0.1, "books": -0.05}
    option = _options(whole("two", tests=tests, **seen))["onnx"]
    assert _estimate(option, "out_of_domain_accuracy").value == pytest.approx(0.87)  # of books
    assert _estimate(option, "accuracy").value == pytest.approx(0.92)  # and films is not in domain


def test_of_several_tests_the_worst_counts(whole: MakeRun) -> None:
    option = _options(whole("gru", tests={"shop": 0.0, "films": -0.1, "books": -0.05}))["onnx"]
    assert _estimate(option, "out_of_domain_accuracy").value == pytest.approx(0.82)


def test_the_committed_benchmark_is_read(make_run: MakeRun) -> None:
    """That of a real run, as the real program wrote it."""
    benchmark = json.loads((DOCS / "benchmarks/1-gru/benchmark.json").read_text())
    run = _with(make_run, "benchmark", benchmark, benchmark["bundle"]["weights_sha256"])
    option = _options(run)["eager"]
    times = benchmark["threads"]["1"]["latency_ms"]["eager"]["p50"] + benchmark["tokenising_ms"]
    assert option.value("p50_ms") == pytest.approx(times)


def test_the_committed_audit_is_read(make_run: MakeRun) -> None:
    audit = json.loads((DOCS / "audit/audit.json").read_text())
    target = audit["targets"][0]
    run = _with(make_run, "audit", audit, target["description"].rpartition(" ")[2])
    wanted: dict[str, Any] = next(
        e for s in audit["sections"] if s["target"] == target["name"]
        for e in s["headline"] if e["name"] == "flip_rate")  # fmt: skip
    assert _options(run)["eager"].value("flip_rate") == wanted["value"]


def _with(make_run: MakeRun, name: str, content: dict[str, Any], weights: str) -> Path:
    """A run with this file, which is of these weights, as if it were of the run's own."""
    run = make_run("gru", certified=())
    own = json.loads((run / "best" / "config.json").read_text())["weights_sha256"]
    (run / name).mkdir()
    text = json.dumps(content).replace(weights, own[: len(weights)])
    (run / name / f"{name}.json").write_text(text)
    return run


def test_an_audits_own_description_of_a_bundle_is_understood(whole: MakeRun) -> None:
    run = whole("gru", audits={})
    weights = json.loads((run / "best" / "config.json").read_text())["weights_sha256"]
    path = run / "audit" / "audit.json"
    for train in ({"seed": 3}, {}):
        config = {"architecture": "gru-encoder", "weights_sha256": weights,
                  "provenance": {"config": {"train": train}}}  # fmt: skip
        target = Target("x/best@onnx-int8", "bundle", "x@onnx-int8", "onnx-int8", config)
        audit = json.loads(path.read_text())
        audit["targets"] = [{"name": target.name, "description": target.description}]
        path.write_text(json.dumps(audit))
        audits = gather(read_run(run)).audits
        assert isinstance(audits, dict) and list(audits) == ["onnx-int8"]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("benchmark/benchmark.json", "{", "not JSON"),
        ("benchmark/benchmark.json", "[]", "holds a list"),
        ("benchmark/benchmark.json", '{"schema_version": 2}', "schema_version is 2"),
        ("benchmark/benchmark.json", '{"schema_version": 1}', "not a whole benchmark"),
        ("audit/audit.json", '{"schema_version": 1}', "not a whole audit"),
        ("best/parity.json", "{", "not JSON"),
        ("best/config.json", "{", "not JSON"),
    ],
)
def test_a_damaged_file_stops_with_its_name(
    whole: MakeRun, file: str, content: str, said: str
) -> None:
    run = whole("gru")
    (run / file).write_text(content)
    with pytest.raises(ValueError, match=said) as error:
        gather(read_run(run))
    assert file.split("/")[-1] in str(error.value) and "\n" not in str(error.value)
