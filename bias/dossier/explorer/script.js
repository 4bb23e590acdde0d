// The explorer: two linked charts of the same points. Points come with their figures and with
// whether they are on the front; nothing is computed here but what shows.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const panels = [
  { div: byId("panel-left"), select: byId("left") },
  { div: byId("panel-right"), select: byId("right") },
];
let chosen = null;

// plotly.js lies in the page packed, a third of its size
async function unpack() {
  const packed = Uint8Array.from(atob(byId("plotly").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const figure = (point, metric) => point.figures[metric];
const text = (point, metric) => figure(point, metric).text;

function fill(select, chosenName) {
  for (const [name, metric] of Object.entries(data.metrics)) {
    select.add(new Option(metric.title, name, false, name === chosenName));
  }
}

function box(parent, name, label, swatch) {
  const element = document.createElement("label");
  const input = document.createElement("input");
  input.type = "checkbox";
  input.checked = true;
  input.value = name;
  element.append(input);
  if (swatch) {
    const dot = document.createElement("span");
    dot.className = "swatch";
    dot.style.background = swatch;
    element.append(dot);
  }
  element.append(" " + label);
  parent.append(element);
}

const ticked = (id) => new Set([...byId(id).querySelectorAll("input:checked")].map((i) => i.value));

// Points that the controls let through; a panel draws those that have both of its figures.
function shown() {
  const candidates = ticked("candidates"), backends = ticked("backends");
  return data.points.filter((p) => candidates.has(p.candidate) && backends.has(p.backend) &&
    (!byId("front-only").checked || p.front));
}

function inPanel(panel) {
  const across = panel.select.value, up = byId("up").value;
  return shown()
    .filter((p) => figure(p, across).value !== null && figure(p, up).value !== null)
    .sort((a, b) => figure(a, across).value - figure(b, across).value);
}

function bars(points, metric, share) {
  const at = (p) => figure(p, metric);
  const factor = share ? 100 : 1;
  return {
    type: "data", symmetric: false, thickness: 1, width: 3,
    array: points.map((p) => (at(p).high === null ? 0 : factor * (at(p).high - at(p).value))),
    arrayminus: points.map((p) => (at(p).low === null ? 0 : factor * (at(p).value - at(p).low))),
  };
}

function axis(metric) {
  const known = data.metrics[metric];
  return {
    title: { text: known.title + (known.share ? ", %" : known.unit ? ", " + known.unit : "") },
    type: known.logarithmic ? "log" : "linear", gridcolor: "#DDDDDD", zeroline: false, automargin: true,
  };
}

function draw() {
  const up = byId("up").value;
  for (const panel of panels) {
    const across = panel.select.value, points = inPanel(panel);
    const value = (p, metric) => figure(p, metric).value * (data.metrics[metric].share ? 100 : 1);
    const selected = points.filter((p) => p === chosen);
    const trace = {
      type: "scatter", mode: "markers", x: points.map((p) => value(p, across)),
      y: points.map((p) => value(p, up)), text: points.map(hover), hoverinfo: "text",
      error_x: bars(points, across, data.metrics[across].share),
      error_y: bars(points, up, data.metrics[up].share),
      marker: {
        size: points.map((p) => (p.front ? 13 : 10)), opacity: 1,
        symbol: points.map((p) => p.symbol + (p.front ? "" : p.front === null ? "-open-dot" : "-open")),
        color: points.map((p) => p.colour), line: { width: 2, color: points.map((p) => p.colour) },
      },
    };
    trace.error_x.color = trace.error_y.color = "#999999";
    const ring = {
      type: "scatter", mode: "markers", hoverinfo: "skip", x: selected.map((p) => value(p, across)),
      y: selected.map((p) => value(p, up)),
      marker: { size: 24, symbol: "circle-open", color: "#000000", line: { width: 2.5 } },
    };
    const layout = {
      margin: { l: 10, r: 15, t: 10, b: 40 }, showlegend: false, hovermode: "closest",
      font: { family: "system-ui, sans-serif", size: 13, color: "#222222" },
      plot_bgcolor: "white", paper_bgcolor: "white", xaxis: axis(across), yaxis: axis(up),
      annotations: points.length ? [] : [{ text: "no point has both figures", showarrow: false,
        xref: "paper", yref: "paper", x: 0.5, y: 0.5 }],
    };
    Plotly.react(panel.div, [trace, ring], layout, { responsive: true, displaylogo: false });
    panel.div.setAttribute("aria-label",
      `${data.metrics[up].title} against ${data.metrics[across].title}: ${points.length} points; ` +
      "arrow keys go through them");
  }
  table();
}

function hover(point) {
  const lines = Object.keys(data.metrics).map((m) => `${data.metrics[m].title}: ${escaped(text(point, m))}`);
  return `<b>${escaped(point.name)}</b>${point.front ? " (on the front)" : ""}<br>${lines.join("<br>")}`;
}

function choose(point) {
  chosen = point;
  const metrics = [...new Set([byId("up").value, ...panels.map((p) => p.select.value)])];
  byId("status").textContent = point === null ? "" : `${point.name}` +
    `${point.front ? ", on the front" : point.front === false ? ", not on the front" : ""}: ` +
    metrics.map((m) => `${data.metrics[m].title} ${text(point, m)}`).join("; ");
  draw();
}

function table() {
  const columns = Object.keys(data.metrics);
  const head = ["model on backend", "front", ...columns.map((m) => data.metrics[m].title)];
  const made = document.createElement("tbody");
  for (const point of shown()) {
    const row = made.insertRow();
    row.className = point === chosen ? "chosen" : "";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = point.name;
    button.addEventListener("click", () => {
      choose(point);
      for (const other of byId("points").querySelectorAll("button")) {
        if (other.textContent === point.name) other.focus();  // the row was made anew
      }
    });
    row.insertCell().append(button);
    row.insertCell().textContent = point.front === null ? "–" : point.front ? "yes" : "no";
    for (const metric of columns) row.insertCell().textContent = text(point, metric);
  }
  const top = document.createElement("thead").insertRow();
  for (const name of head) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    top.append(cell);
  }
  byId("points").replaceChildren(top.parentNode, made);
}

function keys(panel) {
  panel.div.addEventListener("keydown", (event) => {
    const points = inPanel(panel);
    const at = points.indexOf(chosen), last = points.length - 1;
    const next = { ArrowRight: Math.min(at + 1, last), ArrowLeft: at < 0 ? last : Math.max(at - 1, 0),
                   Home: 0, End: last }[event.key];
    if (event.key === "Escape") choose(null);
    else if (next !== undefined && last >= 0) choose(points[next]);
    else return;
    event.preventDefault();
  });
}

async function start() {
  await unpack();
  for (const [name, made] of Object.entries(figures)) {
    Plotly.newPlot(name, made.data, made.layout, { responsive: true, displaylogo: false });
  }
  fill(panels[0].select, data.across[0]);
  fill(panels[1].select, data.across[1]);
  fill(byId("up"), data.up);
  for (const [name, colour] of Object.entries(data.colours)) box(byId("candidates"), name, name, colour);
  for (const [name, sign] of Object.entries(data.signs)) box(byId("backends"), name, `${sign} ${name}`);
  draw();
  for (const panel of panels) {
    keys(panel);
    const pick = (event) => {
      if (event.points[0].curveNumber === 0) choose(inPanel(panel)[event.points[0].pointNumber]);
    };
    panel.div.on("plotly_click", pick);
  }
  byId("controls").addEventListener("change", () => {
    if (chosen !== null && !shown().includes(chosen)) choose(null);
    else choose(chosen);
  });
  document.body.dataset.ready = "yes";
}
start();
