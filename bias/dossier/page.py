"""The dossier as one HTML page that needs no network, and as Markdown: the recommendation first."""

import base64
import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from plotly.offline import get_plotlyjs

from bias.dossier.charts import ACROSS, colours, symbol
from bias.dossier.contexts import USES
from bias.dossier.decision import Recommendation
from bias.dossier.decision_sections import EVERY_BACKEND, chosen_name
from bias.dossier.evidence import Missing
from bias.dossier.metrics import METRICS, Metric
from bias.dossier.options import Option
from bias.dossier.ranking import Yardstick, ranked_accuracy
from bias.page import filled, for_script, section_html, style_sheet, title_of
from bias.report import section_markdown
from bias.section import Estimate, Section

FRONT_PICTURE, RELIABILITY_PICTURE = "pareto_front.png", "reliability.png"
_LOGARITHMIC = ("p50_ms", "p99_ms", "reviews_per_second", "memory_mb", "artefact_mb")
# as they are drawn; said beside the backend's name
_SIGNS = {"circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "cross": "✚",
          "star": "★", "x": "✖", "hexagon": "⬢"}  # fmt: skip
_RANKED = "ranked_accuracy"
INTRO = (
    "Written by `python -m bias.dossier` from what lies in the run folders: nothing was measured "
    "anew and nothing is guessed. What is missing is said, with the command that makes it."
)


def front_sentence(on_front: dict[str, bool], yardstick: Yardstick | None, options: int) -> str:
    """What the chart shows and of whom."""
    if not on_front or yardstick is None:
        return ("No model has all three of accuracy, latency and flip rate measured, so there is "
                "no front to draw; see what is missing, and what makes it.")  # fmt: skip
    front = [name for name, on in on_front.items() if on]
    left = options - len(on_front)
    without = f" {left} of {options} lack one of the three and are not judged." if left else ""
    return (
        f"On the front of accuracy (on {yardstick.title}), median latency and flip rate, by "
        f"their estimates: {', '.join(front)}. No other is at least as good in all three and "
        f"better in one. Neighbours whose intervals overlap may change places.{without}"
    )


def html_page(
    recommendations: Sequence[Recommendation], sections: Sequence[Section],
    options: Sequence[Option], on_front: dict[str, bool], yardstick: Yardstick | None,
) -> str:  # fmt: skip
    """The whole page as text."""
    numbered = list(enumerate(sections, start=1))
    links = "".join(f'<li><a href="#section-{i}">{escape(title_of(s))}</a></li>'
                    for i, s in numbered)  # fmt: skip
    figures = {f"chart-{i}-{k}": chart.figure for i, s in numbered
               for k, chart in enumerate(s.charts)}  # fmt: skip
    folder = resources.files("bias.dossier") / "explorer"
    part = {name: (folder / name).read_text(encoding="utf-8")
            for name in ("page.html", "style.css", "script.js")}  # fmt: skip
    data = json.dumps(_explorer(options, on_front, yardstick), ensure_ascii=False)
    return filled(part["page.html"], {
        "/*STYLE*/": style_sheet() + part["style.css"],
        "<!--OPENING-->": _opening(recommendations)
        + f'<nav aria-label="Sections"><ol>{links}</ol></nav>',
        "<!--FRONT-->": escape(front_sentence(on_front, yardstick, len(options))),
        "<!--BODY-->": "\n".join(section_html(i, section) for i, section in numbered),
        "/*PLOTLY*/": _packed_plotly(),
        "/*DATA*/": data.replace("</", "<\\/").replace("<!--", "<\\!--"),
        "/*FIGURES*/": for_script(figures),
        "/*SCRIPT*/": part["script.js"],
    })  # fmt: skip


@cache
def _packed_plotly() -> str:
    """plotly.js in a third of its size, which the page's script unpacks."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode("ascii")


def _opening(recommendations: Sequence[Recommendation]) -> str:
    rows = []
    for number, each in enumerate(recommendations, start=1):  # their sections come first
        kind = "model none" if each.chosen is None else "model"
        rows.append(
            f"<tr><th scope='row'><a href='#section-{number}'>{escape(each.context.title)}</a></th>"
            f"<td class='{kind}'>{escape(chosen_name(each))}</td>"
            f"<td>{escape(each.why)}</td><td>{escape(USES[each.context.use])}</td></tr>"
        )
    return (
        f"<header><h1>Model dossier</h1><p>{escape(INTRO.replace('`', ''))}</p></header>"
        "<section class='recommendations' aria-labelledby='recommended'><h2 id='recommended'>"
        "Recommendation</h2><div class='wide'><table><thead><tr><th scope='col'>use</th>"
        "<th scope='col'>model</th><th scope='col'>why</th>"
        "<th scope='col'>may a model decide?</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _explorer(
    options: Sequence[Option], on_front: dict[str, bool], yardstick: Yardstick | None
) -> dict[str, Any]:
    """What the script draws; a figure that is missing is null. Ranked and drawn by accuracy on the
    yardstick, which is a metric of its own where it is not what the thresholds judge."""
    ranked = {} if yardstick is None else {_RANKED: f"accuracy on {yardstick.title}"}
    shades = colours(list(dict.fromkeys(option.candidate.name for option in options)))
    return {
        "across": ACROSS,
        "up": _RANKED if ranked else "accuracy",
        "colours": shades,
        "signs": {o.backend: _SIGNS[symbol(o.backend)] for o in options},
        "metrics": {
            name: {"title": title, "share": True, "unit": "", "logarithmic": False}
            for name, title in ranked.items()
        } | {
            name: {"title": metric.title, "share": metric.share, "unit": metric.unit,
                   "logarithmic": name in _LOGARITHMIC}
            for name, metric in METRICS.items()
        },
        "points": [
            {"name": o.name, "candidate": o.candidate.name, "backend": o.backend,
             "front": on_front.get(o.name), "colour": shades[o.candidate.name],
             "symbol": symbol(o.backend),
             "figures": {name: _figure(METRICS["accuracy"], _ranked(o, yardstick))
                         for name in ranked}
             | {name: _figure(metric, o.figures[name]) for name, metric in METRICS.items()}}
            for o in options
        ],
    }  # fmt: skip


def _ranked(option: Option, yardstick: Yardstick | None) -> Estimate | Missing:
    if yardstick is None or option.candidate.name not in yardstick.members:
        return Missing("other rows", "it was not tested on the rows that most candidates share")
    return ranked_accuracy(option, yardstick)


def _figure(metric: Metric, figure: Estimate | Missing) -> dict[str, Any]:
    if isinstance(figure, Missing):
        return {"value": None, "low": None, "high": None, "text": figure.short}
    ends = {"low": figure.low, "high": figure.high, "value": figure.value}
    known = {key: None if math.isnan(value) else value for key, value in ends.items()}
    return known | {"text": metric.text(figure)}


def markdown(
    recommendations: Sequence[Recommendation], sections: Sequence[Section], front: str,
    pictures: Sequence[str],
) -> str:  # fmt: skip
    """The same without the explorer, and each candidate on its nearest backend; `pictures` are
    the names of those that were drawn."""
    lines = ["# Model dossier", "", INTRO, "", "## Recommendation", "",
             "| use | model | why | may a model decide? |", "|---|---|---|---|"]  # fmt: skip
    for each in recommendations:
        cells = (each.context.title, f"**{chosen_name(each)}**", each.why, USES[each.context.use])
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    lines += ["", "## Accuracy, latency and bias: what trades against what", "", front]
    if FRONT_PICTURE in pictures:
        lines += ["", f"![The front of accuracy, latency and flip rate]({FRONT_PICTURE})"]
    for section in sections:
        lines += section_markdown(replace(section, tables=tuple(
            table for table in section.tables if table.title != EVERY_BACKEND)))  # fmt: skip
        if section.name == "quality" and RELIABILITY_PICTURE in pictures:
            lines += ["", f"![Reliability on each test set]({RELIABILITY_PICTURE})"]
    return "\n".join(lines) + "\n"
