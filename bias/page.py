"""The audit as one HTML page that needs no network: the decision first, then what it rests on."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from plotly.offline import get_plotlyjs

from bias.gate import Verdict
from bias.section import Cell, Chart, Estimate, Section, Table, rounded

FINDINGS_SHOWN = 5
LONG = 45  # characters that stay on one line
TABLES_OPEN = 2  # of a section; the others unfold on a click


def html_page(
    targets: Sequence[dict[str, Any]], sections: Sequence[Section], gate: Sequence[Verdict]
) -> str:
    """The whole page as text."""
    numbered = list(enumerate(sections, start=1))
    charts = [
        (f"chart-{number}-{index}", chart)
        for number, section in numbered
        for index, chart in enumerate(section.charts)
    ]
    body = [
        _opening(targets, sections, gate),
        '<nav aria-label="Sections"><ol>',
        *(f'<li><a href="#section-{number}">{escape(title_of(section))}</a></li>'
          for number, section in numbered),
        "</ol></nav>",
        *(section_html(number, section) for number, section in numbered),
    ]  # fmt: skip
    figures = {name: chart.figure for name, chart in charts}
    marks = {
        "/*STYLE*/": style_sheet(),
        "<!--BODY-->": "\n".join(body),
        "/*PLOTLY*/": get_plotlyjs() if charts else "",
        "/*FIGURES*/": for_script(figures),
    }
    return filled((resources.files("bias") / "page.html").read_text(encoding="utf-8"), marks)


def filled(page: str, marks: Mapping[str, str]) -> str:
    """The page with a text for each mark, which are given in the order in which they stand.

    What was put in is not searched again, so that no text of an audit can stand for a mark.
    """
    done = ""
    for mark, text in marks.items():
        head, found, page = page.partition(mark)
        assert found, mark
        done += head + text
    return done + page


def style_sheet() -> str:
    """What all pages of `bias` look like."""
    return (resources.files("bias") / "page.css").read_text(encoding="utf-8")


def _opening(
    targets: Sequence[dict[str, Any]], sections: Sequence[Section], gate: Sequence[Verdict]
) -> str:
    """What the decision needs: gate, the large figures, the first findings."""
    lines = ["<header><h1>Bias audit</h1><ul class='targets'>"]
    lines += [
        f"<li><strong>{escape(target['name'])}</strong> {escape(target['description'])}</li>"
        for target in targets
    ]
    lines.append("</ul></header>")
    if gate:
        failed = sum(not verdict.passed for verdict in gate)
        kind = "failed" if failed else "passed"
        summary = f"Gate failed: {failed} of {len(gate)}" if failed else "Gate passed"
        lines.append(f"<div class='gate {kind}' role='status'><strong>{summary}</strong><ul>")
        lines += [f"<li>{escape(verdict.text())}</li>" for verdict in gate]
        lines.append("</ul></div>")
    else:
        lines.append(
            "<div class='gate open' role='status'><strong>No gate was set</strong>: whether these "
            "figures may stand is for the reader to say. <code>--fail-over NAME=X</code> lets the "
            "command say it.</div>"
        )
    for target in dict.fromkeys(section.target for section in sections):
        own = [section for section in sections if section.target == target]
        estimates = [estimate for section in own for estimate in section.headline]
        findings = [line for section in own for line in section.findings[:FINDINGS_SHOWN]]
        if not estimates and not findings:
            continue
        lines.append(f"<section class='summary'><h2>{escape(target or 'Held together')}</h2>")
        lines.append("<div class='cards'>" + "".join(_card(e) for e in estimates) + "</div><ul>")
        lines += [f"<li>{escape(line)}</li>" for line in findings]
        lines.append("</ul></section>")
    return "\n".join(lines)


def _card(estimate: Estimate) -> str:
    noise = "" if estimate.noise is None else f" · noise {estimate.noise:.3f}"
    p = "" if estimate.p is None else f" · p {estimate.p:.4f}"
    return (
        f"<div class='card'><div class='name'>{escape(estimate.name.replace('_', ' '))}</div>"
        f"<div class='value'>{rounded(estimate.value, estimate.digits)}</div>"
        f"<div class='interval'>[{rounded(estimate.low, estimate.digits)}, "
        f"{rounded(estimate.high, estimate.digits)}] · n {estimate.n:,}"
        f"{noise}{p}</div><div class='meaning'>{escape(estimate.meaning)}</div></div>"
    )


def section_html(number: int, section: Section) -> str:
    """One section under the anchor `section-NUMBER`; its charts are drawn by the page's script."""
    parts = [f"<section id='section-{number}'><h2>{escape(title_of(section))}</h2>"]
    if section.findings:
        parts.append("<ul>" + "".join(f"<li>{escape(f)}</li>" for f in section.findings) + "</ul>")
    for page in section.pages:
        parts.append(
            f"<p><a class='page' href='{escape(page.filename, quote=True)}'>"
            f"{escape(page.title)}</a></p>"
        )
    parts += [_chart(f"chart-{number}-{i}", chart) for i, chart in enumerate(section.charts)]
    parts += [_table(table, i < TABLES_OPEN) for i, table in enumerate(section.tables)]
    if section.limits:
        parts.append("<h3>Limits</h3><ul class='limits'>")
        parts += [f"<li>{escape(limit)}</li>" for limit in section.limits]
        parts.append("</ul>")
    return "\n".join([*parts, "</section>"])


def _chart(name: str, chart: Chart) -> str:
    height = int(chart.figure.get("layout", {}).get("height") or 450)
    return (
        f"<figure><h3>{escape(chart.title)}</h3>"
        f"<div class='chart' id='{name}' style='height:{height}px' role='img' "
        f"aria-label='{escape(chart.caption, quote=True)}'></div>"
        f"<figcaption>{escape(chart.caption)}</figcaption></figure>"
    )


def _table(table: Table, unfolded: bool) -> str:
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in table.columns)
    rows = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in table.rows)
    note = f"<p class='note'>{escape(table.note)}</p>" if table.note else ""
    state = " open" if unfolded else ""
    return (
        f"<details{state}><summary><h3>{escape(table.title)}</h3></summary><div class='wide'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}</details>"
    )


def _cell(cell: Cell) -> str:
    if isinstance(cell, Estimate):
        return (
            f"<td class='number' title='n = {cell.n:,} {escape(cell.of, quote=True)}'>"
            f"{escape(cell.text())}</td>"
        )
    if isinstance(cell, int | float):
        text = f"{cell:,}" if isinstance(cell, int) else f"{cell:.4g}"
        return f"<td class='number'>{text}</td>"
    kind = " class='long'" if cell and len(cell) > LONG else ""
    return f"<td{kind}>{escape(cell or '')}</td>"


def title_of(section: Section) -> str:
    """With the target, where it has one."""
    return f"{section.title} – {section.target}" if section.target else section.title


def for_script(value: Any) -> str:
    """JSON that no text in it can break out of."""
    import plotly.io

    text = "{" + ",".join(
        f"{json.dumps(name)}:{plotly.io.to_json(figure, validate=False)}"
        for name, figure in value.items()
    ) + "}"  # fmt: skip
    return text.replace("</", "<\\/").replace("<!--", "<\\!--")
