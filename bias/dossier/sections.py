"""What was gathered of the candidates, as sections of the page, each with where it comes from."""

from collections.abc import Sequence
from pathlib import Path

from bias.dossier.candidates import Candidate, audited_sentence
from bias.dossier.charts import reliability_chart
from bias.dossier.evidence import Certified, Missing
from bias.dossier.failures import Failures
from bias.dossier.metrics import METRICS
from bias.dossier.options import NO_BACKEND, Option
from bias.section import Cell, Section, Table
from training.results.questions import source_name
from training.results.wording import duration, number, parameters, size

_BIAS = ("flip_rate", "group_gap", "equalized_odds_difference")
_SPEED = ("p50_ms", "p99_ms", "reviews_per_second", "memory_mb", "artefact_mb")


def cell(option: Option, metric: str) -> str:
    """The figure with its interval, or that there is none."""
    figure = option.figures[metric]
    return figure.short if isinstance(figure, Missing) else METRICS[metric].text(figure)


def candidates_section(candidates: Sequence[Candidate]) -> Section:
    """Who they are."""
    rows: list[tuple[Cell, ...]] = []
    for each in candidates:
        facts = each.shipped.facts
        seeds = ", ".join(str(run.facts["training"]["seed"]) for run in each.runs)
        ships = (
            "no bundle"
            if each.evidence[0].weights is None
            else (f"seed {facts['training']['seed']}, weights {each.evidence[0].weights[:12]}")
        )
        rows.append((each.name, each.shipped.title, facts["architecture"],
                     parameters(facts["parameters"]["total"]), each.sources,
                     number(facts["data"]["train_reviews"]), seeds, ships))  # fmt: skip
    columns = ("candidate", "model", "architecture", "parameters", "trained on", "reviews",
               "seeds", "to be shipped")  # fmt: skip
    note = ("Of several seeds, to be shipped is the best on validation of those that were audited "
            "and exported.")  # fmt: skip
    return Section("candidates", "The candidates", tables=(
        Table("What was trained, and on what", columns, tuple(rows), note),))  # fmt: skip


def quality_section(candidates: Sequence[Candidate]) -> Section:
    """Accuracy and calibration on every test set, in and out of domain."""
    rows: list[tuple[Cell, ...]] = []
    for each in candidates:
        for test in each.tests:
            accuracy, error = each.figure(test, "accuracy"), each.figure(test, "calibration_error")
            rows.append((each.name, test, each.domain(test),
                         METRICS["accuracy"].text(accuracy),
                         METRICS["calibration_error"].text(error), accuracy.n,
                         len(each.runs), _spread(each, test)))  # fmt: skip
    columns = ("candidate", "test set", "domain", "accuracy", "calibration error (ECE)", "reviews",
               "seeds", "accuracy of each seed")  # fmt: skip
    note = ("95% intervals: for the choice of test reviews, and over two or more seeds for that of "
            "the seed too (Student's t); the wider of both on each side.")  # fmt: skip
    tests = list(dict.fromkeys(test for each in candidates for test in each.answers))
    charts = [reliability_chart(candidates, test) for test in tests]
    return Section(
        "quality", "Accuracy and calibration", findings=_different_rows(candidates),
        tables=(Table("In and out of domain", columns, tuple(rows), note),),
        charts=tuple(charts),
    )  # fmt: skip


def _spread(candidate: Candidate, test: str) -> str:
    if len(candidate.runs) == 1:
        return ""
    values = [run.facts["tests"][test]["accuracy"]["value"] for run in candidate.runs]
    return ", ".join(METRICS["accuracy"].number(value) for value in values)


def _different_rows(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Test sets of one name that are not one set of rows, or that not all have."""
    lines = []
    for test in dict.fromkeys(test for each in candidates for test in each.tests):
        keys: dict[str, list[str]] = {}
        for each in candidates:
            if test in each.tests:
                keys.setdefault(each.rows_key(test), []).append(each.name)
        if len(keys) > 1:
            groups = "; ".join(", ".join(names) for names in keys.values())
            lines.append(f"{test} is not the same rows for all: comparable are only those named "
                         f"together: {groups}.")  # fmt: skip
        absent = [each.name for each in candidates if test not in each.tests]
        if absent:
            lines.append(f"{test} was not asked of {', '.join(absent)}.")
    return tuple(lines)


def speed_section(options: Sequence[Option]) -> Section:
    """Latency, throughput, memory and size, a backend a line; where and how it was measured."""
    rows: list[tuple[Cell, ...]] = [
        (o.candidate.name, o.backend, *(cell(o, metric) for metric in _SPEED))
        for o in options if o.backend != NO_BACKEND
    ]  # fmt: skip
    columns = ("candidate", "backend", *(METRICS[metric].title for metric in _SPEED))
    conditions: dict[str, list[str]] = {}
    for each in dict.fromkeys(option.candidate.name for option in options):
        own = next(o.candidate for o in options if o.candidate.name == each)
        for evidence in own.evidence:
            if isinstance(measured := evidence.benchmark, dict):
                machine = measured.get("machine", {})
                text = (f"{machine.get('processor')}, {machine.get('cpus')} CPUs, "
                        f"{min(measured['threads'], key=int)} thread(s); one review of "
                        f"{measured['length']} tokens")  # fmt: skip
                conditions.setdefault(text, []).append(each)
                break
    findings = tuple(f"Measured on {text}: {', '.join(names)}." for text, names in
                     conditions.items())  # fmt: skip
    if len(conditions) > 1:
        findings += ("Not all were measured in the same conditions: compare times only within one "
                     "of these lines.",)  # fmt: skip
    return Section("speed", "Latency, throughput, memory, size", findings=findings, tables=(
        Table("Backends", columns, tuple(rows),
              "; ".join(f"{METRICS[m].title}: {METRICS[m].meaning}" for m in _SPEED) + "."),
    ))  # fmt: skip


def proof_section(candidates: Sequence[Candidate]) -> Section:
    """What proves that an export answers as its checkpoint does."""
    rows: list[tuple[Cell, ...]] = []
    for each in candidates:
        for backend, proof in each.evidence[0].certificates.items():
            if isinstance(proof, Certified):
                entry = proof.entry
                kept = "proved, as recorded" if each.evidence[0].recorded else "proved"
                rows.append((each.name, backend, kept, f"{entry['max_abs_difference']:.2g}",
                             f"{1 - proof.changed:.2%}", f"{proof.accuracy:.2%} / "
                             f"{proof.checkpoint_accuracy:.2%}", proof.reviews,
                             str(entry["sha256"])[:12]))  # fmt: skip
            else:
                rows.append((each.name, backend, "refused", "", "", "", None, ""))
    columns = ("candidate", "backend", "certificate", "largest |Δlogit|", "same labels",
               "accuracy, its / the checkpoint's", "reviews", "SHA-256")  # fmt: skip
    note = (
        "From the bundle's parity.json, held against the file's hash and the bundle's weights "
        "now; an artefact without a valid certificate is refused, and is no option here. Of a "
        "record the files are elsewhere, and were checked when it was made."
    )
    return Section("proof", "Parity certificates", tables=(
        Table("Exports", columns, tuple(rows), note),))  # fmt: skip


def cost_section(candidates: Sequence[Candidate], price: float | None, currency: str) -> Section:
    """What training took, a run a line; money only from a price that the user gave."""
    rows: list[tuple[Cell, ...]] = []
    for each in candidates:
        for run in each.runs:
            time, memory = run.facts["time"], run.facts["memory"]
            cpu = time.get("train_cpu_seconds")
            row: tuple[Cell, ...] = (
                each.name, run.facts["training"]["seed"], duration(time["train_seconds"]),
                duration(total_seconds(time)), "not kept" if cpu is None else duration(cpu),
                size(memory["peak_bytes"]), run.facts["machine"]["device"],
                run.facts["machine"]["processes"],
            )  # fmt: skip
            if price is not None:
                row += (f"{total_seconds(time) / 3600 * price:.4g} {currency}".strip(),)
            rows.append(row)
    columns: tuple[str, ...] = (
        "candidate", "seed", "training", "in all", "training, CPU time", "peak memory",
               "device", "processes")  # fmt: skip
    note = "In all: data, training, validations and tests, wall-clock."
    if price is None:
        note += " Money is not stated: give --price-per-hour for what the machine costs you."
    else:
        columns += ("cost",)
        note += f" Cost: time in all at {price:g} {currency}".rstrip() + " an hour."
    taught = tuple(
        f"{each.name} was taught by {Path(each.teacher).parent.name}, whose own training is not "
        "counted here."
        for each in candidates if each.teacher
    )  # fmt: skip
    return Section("cost", "Training cost", findings=taught, tables=(
        Table("What each run took", columns, tuple(rows), note),))  # fmt: skip


def total_seconds(time: dict[str, float]) -> float:
    """Of a run, as it says itself; of an older one, the parts that it kept."""
    if "total_seconds" in time:
        return time["total_seconds"]
    return sum(time.get(f"{part}_seconds", 0.0) for part in ("data", "train", "evaluation", "test"))


def bias_section(options: Sequence[Option]) -> Section:
    """What changes when somebody else is named, against the noise floor."""
    rows: list[tuple[Cell, ...]] = []
    for option in options:
        if isinstance(option.figures["flip_rate"], Missing):
            continue
        row: list[Cell] = [option.candidate.name, option.backend]
        for metric in _BIAS:
            figure = option.figures[metric]
            row.append(cell(option, metric))
            if metric != _BIAS[-1]:
                noise = None if isinstance(figure, Missing) else figure.noise
                row.append("–" if noise is None else METRICS[metric].number(noise))
        rows.append(tuple(row))
    columns = ("candidate", "backend", "flip rate", "by noise", "group gap", "by noise",
               "equalised odds difference")  # fmt: skip
    note = ("By noise: what swaps that mean nothing (synonyms, names of one community) give. A "
            "flip rate within its noise shows no bias beyond the unsteadiness of any model; the "
            "thresholds hold for it all the same.")  # fmt: skip
    return Section(
        "bias", "Bias, against the noise floor", findings=_audit_findings(options),
        tables=(Table("Audits", columns, tuple(rows), note),),
    )  # fmt: skip


def _audit_findings(options: Sequence[Option]) -> tuple[str, ...]:
    candidates = {option.candidate.name: option.candidate for option in options}
    lines = [line for each in candidates.values() if (line := audited_sentence(each))]
    reviews: dict[str, dict[str, None]] = {}
    for name, candidate in candidates.items():
        audited = [each for each in candidate.evidence if not isinstance(each.audits, Missing)]
        for evidence in audited:
            asked = evidence.audit_settings
            source, most = source_name(str(asked.get("reviews"))), asked.get("most_reviews")
            which = f"{source}, at most {most} a rewriting"
            if (text := asked.get("text", "title+content")) != "title+content":
                which += f", {text} alone"
            if own := asked.get("identities"):
                which += f", with the groups of {Path(own).name} in the place of ours"
            reviews.setdefault(which, {})[name] = None
        for evidence in audited[:1]:
            assert not isinstance(evidence.audits, Missing)
            backend, audit = next(iter(evidence.audits.items()))
            lines += [f"{name} on {backend}: {line}" for line in audit["findings"][:2]]
    if len(reviews) > 1:
        told = "; ".join(f"{which} ({', '.join(names)})" for which, names in reviews.items())
        lines.insert(0, "The audits rewrote different reviews, and are not comparable to the "
                        f"digit: {told}.")  # fmt: skip
    elif reviews:
        lines.insert(0, f"The audits rewrote reviews of {next(iter(reviews))}.")
    return tuple(lines)


def failures_section(failures: dict[str, Failures]) -> Section:
    """The surest errors of each candidate."""
    tables, findings = [], []
    for name, each in failures.items():
        rows = tuple(
            (f.test, f.row, f.label, f.answer, f"{f.confidence:.1%}", f.text or "not read")
            for f in each.found
        )
        columns = ("test set", "row", "label", "answer", "confidence", "text")
        if rows:
            counts = ", ".join(f"{count:,} of {test}" for test, count in each.wrong.items())
            tables.append(Table(name, columns, rows, f"Wrong in all: {counts}."))
        if each.unread:
            findings.append(f"{name}: texts are not shown: {each.unread}.")
    limits = ("Labels come from stars, so that some of the surest errors are the label's.",)
    return Section("failures", "Known failures: the surest errors", findings=tuple(findings),
                   tables=tuple(tables), limits=limits if tables else ())  # fmt: skip


def missing_section(options: Sequence[Option]) -> Section:
    """Every figure that is not there, why, and the commands that make them."""
    rows: list[tuple[Cell, ...]] = []
    seen: dict[tuple[str, str], list[str]] = {}
    commands: dict[tuple[str, str], str] = {}
    for option in options:
        for metric, figure in option.figures.items():
            if isinstance(figure, Missing):
                seen.setdefault((option.name, figure.why), []).append(METRICS[metric].title)
                commands[option.name, figure.why] = figure.command or "no command here"
    for (name, why), metrics in seen.items():
        rows.append((name, ", ".join(metrics), why, commands[name, why]))
    if not rows:
        return Section("missing", "What is missing", findings=("Nothing is missing.",))
    return Section("missing", "What is missing, and what makes it", tables=(
        Table("Not measured", ("what", "figures", "why", "made by"), tuple(rows)),))  # fmt: skip
