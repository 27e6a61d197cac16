"use strict";
// Asks for status.json once a second and shows it. All that comes from there is set as text, never as markup.

const PATIENCE = 5000; // ms for an answer
const get = (id) => document.getElementById(id);
const number = (value) => Math.round(value).toLocaleString("en");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const shown = new Map(); // the parts of the page, by the name of the pump
let paused = false;

const COLUMNS = [
  ["socket", (c) => `${c.type} ${c.endpoint || "not bound or connected"}${c.open ? "" : " (closed)"}`],
  ["peers", (c) => (c.peers === null ? "not known" : number(c.peers))],
  ["to send", (c) => queue(c.statistics.pending, c.statistics.peak_pending)],
  ["to get", (c) => queue(c.statistics.waiting, c.statistics.peak_waiting)],
  ["wait to put", (c) => number(c.statistics.putters)],
  ["wait to get", (c) => number(c.statistics.getters)],
  ["sent", (c) => number(c.statistics.sent)],
  ["received", (c) => number(c.statistics.received)],
  ["dropped", (c) => causes(c.statistics.drops)],
  ["refused", (c) => causes(c.statistics.refusals)],
];

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const queue = (now, peak) => `${number(now)} (peak ${number(peak)})`;
const causes = (counts) => Object.entries(counts).map(([cause, count]) => `${cause} ${number(count)}`).join(", ") || "0";

function rates(rows, column) { // per second, from counts
  return rows.map((row, index) => {
    const before = rows[index - 1];
    return before && row[0] > before[0] ? (row[column] - before[column]) / (row[0] - before[0]) : null;
  });
}

function dataOf(kind, rows) {
  const times = rows.map((row) => row[0]);
  if (kind === "queues") return [times, rows.map((row) => row[3]), rows.map((row) => row[4])];
  if (kind === "lost") return [times, rates(rows, 5)];
  return [times, rates(rows, 1), rates(rows, 2)];
}

const CHARTS = [
  ["messages", "messages per second", [["sent", "--a"], ["received", "--b"]]],
  ["queues", "messages in queues", [["to send", "--a"], ["to get", "--b"]]],
  ["lost", "lost or refused per second", [["messages", "--bad"]]],
];

function chart(place, lines) {
  const axis = { stroke: color("--faint"), grid: { stroke: color("--grid"), width: 1 }, ticks: { show: false } };
  const values = (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? number(tick) : tick.toFixed(1)));
  const options = {
    width: Math.max(200, place.clientWidth), height: 150, cursor: { y: false },
    scales: { y: { range: (_, low, high) => [0, Math.max(1, high || 0) * 1.1] } },
    axes: [axis, { ...axis, size: 55, values }],
    series: [{ label: "time" }, ...lines.map(([label, name], index) => ({ // dashed: where two are alike both are seen
      label, stroke: color(name), width: 1.5, dash: index ? [7, 5] : undefined, points: { show: false },
      value: (_, value) => (value === null || value === undefined ? "" : number(value)),
    }))],
  };
  return new uPlot(options, [[]], place);
}

function makePump(pump) {
  const section = element("section");
  const part = { section, title: element("h2", pump.name), about: element("p", "", "faint"), charts: [] };
  const figures = element("div", undefined, "charts");
  for (const [kind, caption, lines] of CHARTS) {
    const figure = element("figure");
    figure.append(element("figcaption", caption));
    figures.append(figure);
    part.charts.push({ kind, figure, lines, drawn: null });
  }
  const table = element("table"), head = element("thead"), row = element("tr");
  for (const [name] of COLUMNS) row.append(element("th", name));
  head.append(row);
  part.body = element("tbody");
  table.append(head, part.body);
  const scroll = element("div", undefined, "scroll");
  scroll.append(table);
  const details = element("details");
  part.dump = element("pre");
  details.append(element("summary", "Callers that wait, and where"), part.dump);
  section.append(part.title, part.about, figures, scroll, details);
  get("pumps").append(section);
  return part;
}

function showPump(pump) {
  if (!shown.has(pump.name)) shown.set(pump.name, makePump(pump));
  const part = shown.get(pump.name);
  const error = pump.statistics.last_error;
  part.about.textContent = `${pump.open ? "open" : "closed"}, ${pump.engine} engine, ${number(pump.channels.length)} channels`
    + (error ? `; last error: ${error}` : "");
  part.about.className = error || !pump.open ? "bad" : "faint";
  for (const place of part.charts) {
    place.drawn = place.drawn || chart(place.figure, place.lines);
    place.drawn.setData(dataOf(place.kind, pump.history));
  }
  part.body.replaceChildren(...pump.channels.map((channel) => {
    const row = element("tr");
    for (const [name, text] of COLUMNS) {
      const cell = element("td", text(channel));
      cell.dataset.name = name;
      row.append(cell);
    }
    return row;
  }));
  part.dump.textContent = pump.dump;
}

function show(status) {
  get("process").textContent = `process ${status.process}, zgreen ${status.version}`;
  const names = new Set(status.pumps.map((pump) => pump.name));
  for (const [name, part] of shown) {
    if (!names.has(name)) { part.section.remove(); shown.delete(name); }
  }
  status.pumps.forEach(showPump);
  say(names.size ? `at ${new Date(status.time * 1000).toLocaleTimeString()}` : "this process has no pump", "good");
}

function say(text, state) {
  get("state").textContent = text;
  get("state").dataset.state = state;
}

function redraw() {
  for (const part of shown.values()) {
    for (const place of part.charts) {
      if (place.drawn) place.drawn.destroy();
      place.drawn = null;
    }
  }
}

async function ask() {
  if (!paused) {
    try {
      const answer = await fetch("status.json", { signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error(`the answer is ${answer.status}`);
      const status = await answer.json();
      if (!paused) show(status);
    } catch (error) {
      say(`no answer: the figures are old (${error.message})`, "lost");
    }
  }
  setTimeout(ask, 1000);
}

get("pause").addEventListener("click", () => {
  paused = !paused;
  get("pause").textContent = paused ? "Resume" : "Pause";
  if (paused) say("paused", "paused");
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("resize", redraw);
ask();
