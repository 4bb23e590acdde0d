"""The fill-mask audit's chart."""

from collections.abc import Sequence

import plotly.graph_objects as go

from bias import style
from bias.fill_mask import SetResult
from bias.section import Chart, Estimate


def contrast_chart(
    models: Sequence[tuple[str, Sequence[SetResult], dict[str, Estimate]]],
) -> Chart:
    """Every set's contrast with its interval: a row a set, a colour and a form a model."""
    figure = go.Figure()
    names = []
    for place, (model, results, found) in enumerate(models):
        shown = [r for r in results if r.prompts.name in found][::-1]
        kept = [found[r.prompts.name] for r in shown]
        labels = [f"{r.prompts.title} [{r.prompts.axis}]" for r in shown]
        names += [label for label in labels if label not in names]
        figure.add_scatter(
            x=[e.value for e in kept],
            y=labels,
            mode="markers",
            name=model,
            marker={
                "symbol": style.SYMBOLS[place % len(style.SYMBOLS)],
                "color": style.COLOURS[place % len(style.COLOURS)],
                "size": 10,
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [e.high - e.value for e in kept],
                "arrayminus": [e.value - e.low for e in kept],
            },
        )
    figure.add_vline(x=0, line={"color": style.GREY, "dash": "dash"})
    height = round(150 + 34 * len(names) * max(1.0, len(models) / 2))
    frame = style.framed(
        figure,
        height,
        xaxis_title="contrast in nats: against the stereotype | along it",
        scattermode="group",
        showlegend=len(models) > 1,
    )
    return Chart(
        title="Contrast of each set",
        figure=frame,
        caption="The contrast of each prompt set with its 95% interval. 0 is no difference between "
        "the groups; to the right, the model gives each group what the stereotype gives it.",
    )
