"use strict";
// One token, one dot. A sentence's logits come as 16-bit integers with a scale; differences are always
// up minus across. State is what the controls say plus `selected`, and `draw` draws all of it.

const DATA = JSON.parse(document.getElementById("data").textContent);
const BLUE = "#0072B2", GREY = "#9a9a9a", VERMILLION = "#D55E00", INK = "#1a1a1a";
// Dark at both ends, light grey between them: told apart in any kind of colour blindness.
const SCALE = [[0, BLUE], [0.5, "#d9d9d9"], [1, VERMILLION]];
const FULL_COLOUR = 0.8;  // of the largest difference
const NEAR = 0.15;  // of the largest difference: neither sentence's
const LABEL_ROWS = 26;
const MOST_SVG = 1200;
const WEBGL = (() => {
  try { return Boolean(document.createElement("canvas").getContext("webgl")); } catch { return false; }
})();

const byId = (id) => document.getElementById(id);
const decoded = new Map();
let selected = null;  // a token's text
let panels = [];  // what is drawn: {div, points, order}

function logits(model, sentence) {
  const key = `${model} ${sentence}`;
  const kept = DATA.models[model].sentences[sentence];
  if (kept === undefined) return null;
  if (!decoded.has(key)) {
    const bytes = Uint8Array.from(atob(kept.values), (c) => c.charCodeAt(0));
    const steps = new Int16Array(bytes.buffer);
    decoded.set(key, Float32Array.from(steps, (s) => s * kept.scale));
  }
  return decoded.get(key);
}

function probability(model, sentence, logit) {
  return Math.exp(logit - DATA.models[model].sentences[sentence].normaliser);
}

function state() {
  const set = DATA.sets[byId("set").value];
  return {
    set,
    across: set.sentences[byId("across").value],
    up: set.sentences[byId("up").value],
    view: document.querySelector("input[name=view]:checked").value,
    top: byId("top").value === "all" ? Infinity : Number(byId("top").value),
    models: [...document.querySelectorAll("#models input:checked")].map((box) => Number(box.value)),
  };
}

// The value of the n-th largest.
function threshold(values, n) {
  if (n >= values.length) return -Infinity;
  return Float32Array.from(values).sort()[values.length - n];
}

// Tokens that show: both logits above the smallest of those among the top n of either sentence.
function shown(x, y, n) {
  const least = [threshold(x, n), threshold(y, n)];
  let low = Infinity;
  for (let i = 0; i < x.length; i++) {
    if (x[i] >= least[0] || y[i] >= least[1]) low = Math.min(low, x[i], y[i]);
  }
  const kept = [];
  for (let i = 0; i < x.length; i++) if (x[i] >= low && y[i] >= low) kept.push(i);
  return kept;
}

function singleModel(model, now) {
  const x = logits(model, now.across), y = logits(model, now.up);
  if (x === null || y === null) return null;
  const tokens = DATA.vocabularies[DATA.models[model].vocabulary];
  return shown(x, y, now.top).map((i) => ({
    token: tokens[i], x: x[i], y: y[i], difference: y[i] - x[i],
    probabilities: [probability(model, now.across, x[i]), probability(model, now.up, y[i])],
  }));
}

function twoModels(now) {
  const sides = [0, 1].map((model) => singleModel(model, now));
  if (sides.includes(null)) return null;
  const other = new Map(everyToken(1, now).map((point) => [point.token, point]));
  const first = new Map(everyToken(0, now).map((point) => [point.token, point]));
  const names = new Set(sides.flat().map((point) => point.token));
  return [...names].filter((name) => first.has(name) && other.has(name)).map((name) => {
    const [a, b] = [first.get(name), other.get(name)];
    return { token: name, x: a.difference, y: b.difference, difference: b.difference - a.difference,
             probabilities: [...a.probabilities, ...b.probabilities] };
  });
}

function everyToken(model, now) {
  return singleModel(model, { ...now, top: Infinity });
}

function place(points, view) {
  if (view !== "differences") return points.map((p) => [p.x, p.y]);
  return points.map((p) => [(p.x + p.y) / 2, p.difference]);
}

// The most extreme difference on either side in each of a number of rows, which may not overlap.
function labelled(points, places, view) {
  const height = view === "models" ? places.map(([x, y]) => (x + y) / 2)
    : points.map((p) => (p.x + p.y) / 2);
  const low = Math.min(...minmax(height)), high = Math.max(...minmax(height));
  const largest = Math.max(...points.map((p) => Math.abs(p.difference)).concat(1e-9));
  const best = new Map();
  points.forEach((point, i) => {
    if (Math.abs(point.difference) < NEAR * largest) return;
    const row = Math.floor((LABEL_ROWS * (height[i] - low)) / (high - low + 1e-9));
    const key = `${row} ${point.difference > 0}`;
    const before = best.get(key);
    if (before === undefined || Math.abs(point.difference) > Math.abs(points[before].difference)) {
      best.set(key, i);
    }
  });
  return [...best.values()];
}

function minmax(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return [low, high];
}

function axes(now, places) {
  const xs = minmax(places.map(([x]) => x)), ys = minmax(places.map(([, y]) => y));
  const pad = ([low, high]) => [low - 0.06 * (high - low) - 0.1, high + 0.06 * (high - low) + 0.1];
  const line = { type: "line", line: { color: INK, width: 1, dash: "dot" }, layer: "below" };
  if (now.view === "differences") {
    const reach = Math.max(-ys[0], ys[1]) * 1.1 + 0.1, across = pad(xs);
    return { x: across, y: [-reach, reach],
             titles: ["mean logit of the two sentences", "difference: up minus across"],
             line: { ...line, x0: across[0], x1: across[1], y0: 0, y1: 0 } };
  }
  const both = pad([Math.min(xs[0], ys[0]), Math.max(xs[1], ys[1])]);
  const titles = now.view === "models"
    ? [0, 1].map((m) => `difference under ${DATA.models[m].name}`)
    : [`logit: ${now.across}`, `logit: ${now.up}`];
  return { x: both, y: both, titles,
           line: { ...line, x0: both[0], x1: both[1], y0: both[0], y1: both[1] } };
}

// Labels stand on the side of the line where their dot lies, but inside the chart.
function side(point, [x], frame, view) {
  const share = (x - frame.x[0]) / (frame.x[1] - frame.x[0]);
  if (share > 0.85 || share < 0.15) return share > 0.85 ? "middle left" : "middle right";
  return view === "differences" || point.difference <= 0 ? "middle right" : "middle left";
}

function traces(points, places, now, frame) {
  const differences = points.map((p) => p.difference);
  const largest = Math.max(...minmax(differences.map(Math.abs)), 1e-9);
  const labels = labelled(points, places, now.view);
  const fast = points.length > MOST_SVG && WEBGL;
  const text = now.view === "models"
    ? (p) => `<b>${escaped(p.token)}</b><br>difference ${p.x.toFixed(2)} and ${p.y.toFixed(2)}`
    : (p) => `<b>${escaped(p.token)}</b><br>across ${percent(p.probabilities[0])}, up `
      + `${percent(p.probabilities[1])}<br>difference ${p.difference.toFixed(2)}`;
  return [
    { type: fast ? "scattergl" : "scatter", mode: "markers", name: "tokens",
      x: places.map(([x]) => x), y: places.map(([, y]) => y), text: points.map(text),
      hovertemplate: "%{text}<extra></extra>",
      marker: { size: points.length > 2000 ? 5 : 8, opacity: 0.85, line: { width: 0.4, color: INK },
                color: differences, colorscale: SCALE, cmin: -FULL_COLOUR * largest,
                cmax: FULL_COLOUR * largest,
                symbol: differences.map((d) => Math.abs(d) < NEAR * largest ? "circle"
                  : d > 0 ? "triangle-up" : "triangle-down") } },
    { type: "scatter", mode: "text", name: "labels", hoverinfo: "skip",
      x: labels.map((i) => places[i][0]), y: labels.map((i) => places[i][1]),
      text: labels.map((i) => ` ${escaped(points[i].token)} `),
      textposition: labels.map((i) => side(points[i], places[i], frame, now.view)),
      textfont: { size: 12, color: INK } },
    { type: "scatter", mode: "markers+text", name: "selected", hoverinfo: "skip", x: [], y: [],
      text: [], textposition: "top center", textfont: { size: 15, color: INK, weight: "bold" },
      marker: { size: 18, symbol: "circle-open", color: INK, line: { width: 3 } } },
  ];
}

// Tokens may hold the signs of markup.
function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function percent(p) {
  return p >= 0.0001 ? `${(100 * p).toFixed(p >= 0.01 ? 1 : 2)}%` : `${(100 * p).toExponential(1)}%`;
}

function correlation(x, y) {
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const [mx, my] = [mean(x), mean(y)];
  let xy = 0, xx = 0, yy = 0;
  for (let i = 0; i < x.length; i++) {
    xy += (x[i] - mx) * (y[i] - my); xx += (x[i] - mx) ** 2; yy += (y[i] - my) ** 2;
  }
  return xy / Math.sqrt(xx * yy);
}

function ranks(values) {
  const order = [...values.keys()].sort((a, b) => values[a] - values[b]);
  const result = new Float64Array(values.length);
  for (let i = 0; i < order.length;) {
    let j = i;
    while (j < order.length && values[order[j]] === values[order[i]]) j++;
    for (let k = i; k < j; k++) result[order[k]] = (i + j - 1) / 2;  // ties share their mean rank
    i = j;
  }
  return result;
}

// A box for every chart first: a chart takes the width that its box has when it is drawn.
function addPanel(title, points, now) {
  const box = document.createElement("section");
  box.className = "panel";
  box.innerHTML = "<h2></h2><p></p>";
  box.querySelector("h2").textContent = title;
  byId("panels").append(box);
  const note = box.querySelector("p");
  if (points === null) {
    note.textContent = "No logits were stored for one of these two sentences.";
    return () => {};
  }
  const xs = points.map((p) => p.x), ys = points.map((p) => p.y);
  note.textContent = `${points.length.toLocaleString("en")} tokens; correlation of `
    + `${now.view === "models" ? "the two models' differences" : "the two sentences' logits"}: `
    + `Spearman ${correlation(ranks(xs), ranks(ys)).toFixed(2)}, `
    + `Pearson ${correlation(xs, ys).toFixed(2)}`;
  const div = document.createElement("div");
  div.className = "chart";
  div.tabIndex = 0;
  div.setAttribute("role", "application");
  div.setAttribute("aria-label", `${title}: scatter of ${points.length} tokens; arrow keys go through them`);
  box.append(div);
  return () => drawChart(div, title, points, now);
}

function drawChart(div, title, points, now) {
  const places = place(points, now.view);
  const frame = axes(now, places);
  const axis = (range, text) => ({ range, title: { text, font: { size: 12 } }, zeroline: false,
                                   gridcolor: "#ececec" });
  Plotly.newPlot(div, traces(points, places, now, frame), {
    margin: { l: 60, r: 15, t: 10, b: 55 }, showlegend: false, hovermode: "closest",
    xaxis: axis(frame.x, frame.titles[0]), yaxis: axis(frame.y, frame.titles[1]),
    shapes: [frame.line], plot_bgcolor: "#fff", dragmode: "pan",
  }, { responsive: true, displaylogo: false, scrollZoom: true });
  const order = [...points.keys()].sort((a, b) => points[a].difference - points[b].difference);
  const panel = { div, title, points, places, order, now };
  panels.push(panel);
  div.on("plotly_hover", (event) => select(tokenOf(panel, event)));
  div.on("plotly_click", (event) => select(tokenOf(panel, event)));
  div.addEventListener("keydown", (event) => step(panel, event));
}

function tokenOf(panel, event) {
  const dot = event.points.find((point) => point.curveNumber === 0);
  return dot === undefined ? selected : panel.points[dot.pointIndex].token;
}

function step(panel, event) {
  const { points, order } = panel;
  const at = order.findIndex((i) => points[i].token === selected);
  const last = order.length - 1;
  const next = { ArrowRight: at < 0 ? 0 : Math.min(last, at + 1), ArrowLeft: at < 0 ? last : Math.max(0, at - 1),
                 Home: 0, End: last }[event.key];
  if (event.key === "Escape") select(null);
  else if (next !== undefined) select(points[order[next]].token);
  else return;
  event.preventDefault();
}

// The same token in every panel: a ring and its name.
function select(token) {
  selected = token;
  const said = [];
  for (const { div, title, points, places, now } of panels) {
    const i = token === null ? -1 : points.findIndex((p) => p.token === token);
    Plotly.restyle(div, i < 0 ? { x: [[]], y: [[]], text: [[]] }
      : { x: [[places[i][0]]], y: [[places[i][1]]], text: [[escaped(token)]] }, [2]);
    if (i < 0) { if (token !== null) said.push(`${title}: not among the tokens shown`); continue; }
    const p = points[i];
    said.push(now.view === "models"
      ? `difference ${p.x.toFixed(2)} under ${DATA.models[0].name}, ${p.y.toFixed(2)} under ${DATA.models[1].name}`
      : `${title}: across ${percent(p.probabilities[0])}, up ${percent(p.probabilities[1])}, `
        + `difference ${p.difference.toFixed(2)}`);
  }
  byId("status").textContent = token === null ? "" : `${token} — ${said.join("; ")}`;
}

function search() {
  const wanted = byId("search").value.trim().toLowerCase();
  if (wanted === "") return select(null);
  const tokens = panels.flatMap((panel) => panel.points.map((p) => p.token));
  const found = tokens.find((t) => t === wanted) ?? tokens.find((t) => t.startsWith(wanted));
  if (found !== undefined) return select(found);
  select(null);
  const known = DATA.vocabularies.some((tokens) => tokens.includes(wanted));
  byId("status").textContent = known
    ? `“${wanted}” is not among the tokens shown; show more of them`
    : `“${wanted}” is no single token of this vocabulary; models split it into pieces`;
}

function tables() {
  const box = byId("tables").querySelector("div");
  box.replaceChildren(...panels.map(({ title, points, order, now }) => {
    const table = document.createElement("table");
    table.innerHTML = `<caption></caption><thead><tr><th>token</th><th>${now.view === "models"
      ? "first model</th><th>second model" : "across</th><th>up"}</th><th>difference</th></tr></thead>`;
    table.querySelector("caption").textContent = title;
    const body = table.createTBody();
    const most = Math.min(8, Math.floor(order.length / 2));
    for (const i of [...order.slice(0, most), ...order.slice(order.length - most)]) {
      const row = body.insertRow(), p = points[i];
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = p.token;
      button.addEventListener("click", () => select(p.token));
      row.insertCell().append(button);
      const cells = now.view === "models" ? [p.x.toFixed(2), p.y.toFixed(2)] : p.probabilities.map(percent);
      for (const cell of [...cells, p.difference.toFixed(2)]) row.insertCell().textContent = cell;
    }
    return table;
  }));
}

function draw() {
  const now = state();
  for (const { div } of panels) Plotly.purge(div);
  byId("panels").replaceChildren();
  panels = [];
  byId("about").textContent = `${now.set.question} Without bias: ${now.set.unbiased}`;
  const charts = now.view === "models"
    ? [[`${DATA.models[0].name} and ${DATA.models[1].name}`, twoModels(now)]]
    : now.models.map((model) => [DATA.models[model].name, singleModel(model, now)]);
  const drawings = charts.map(([title, points]) => addPanel(title, points, now));
  for (const drawing of drawings) drawing();
  tables();
  select(selected);
}

function fillSentences() {
  const set = DATA.sets[byId("set").value];
  for (const [id, chosen] of [["across", set.first[1]], ["up", set.first[0]]]) {
    byId(id).replaceChildren(...set.sentences.map((text, i) => new Option(text, i)));
    byId(id).value = chosen;
  }
}

function start() {
  byId("set").replaceChildren(...DATA.sets.map((set, i) => new Option(
    `${set.title} [${set.axis}${set.switched ? ", switched" : ""}]`, i)));
  DATA.models.forEach((model, i) => {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value: i, checked: i < 2 });
    label.append(box, ` ${model.name}`);
    byId("models").append(label);
    box.addEventListener("change", draw);
  });
  byId("models").hidden = DATA.models.length < 2;
  byId("between").hidden = DATA.models.length < 2;
  fillSentences();
  byId("set").addEventListener("change", () => { fillSentences(); draw(); });
  for (const id of ["across", "up", "top"]) byId(id).addEventListener("change", draw);
  for (const radio of document.querySelectorAll("input[name=view]")) radio.addEventListener("change", draw);
  byId("search").addEventListener("input", search);
  byId("accept").addEventListener("click", () => {
    byId("warning").querySelector("button").remove();
    byId("content").hidden = false;
    draw();
    byId("set").focus();
  });
}

start();
