"""What all charts of the audit share: colours that any eye tells apart, and a plain frame."""

from typing import Any

import plotly.graph_objects as go

# Okabe and Ito (2008)
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
)
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, "#000000")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
GREY, BAND = "#555555", "#E4E4E4"


def framed(figure: go.Figure, height: int, **axes: Any) -> dict[str, Any]:
    """The figure as JSON, in the house's frame; `axes` go to `update_layout`."""
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 20, "t": 30, "b": 40},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#222222"},
        plot_bgcolor="white",
        paper_bgcolor="white",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"align": "left"},
        **axes,
    )
    figure.update_xaxes(gridcolor="#DDDDDD", zerolinecolor=GREY, automargin=True)
    figure.update_yaxes(gridcolor="#EEEEEE", automargin=True)
    made: dict[str, Any] = figure.to_plotly_json()
    made["layout"].pop("template", None)  # half of the file, and none of it is used
    return made
