"use strict";
// The page of zgreen live: it shows what the event stream brings, and posts what is typed. Whatever came from outside is
// set as text, never as markup.

const ROWS = 100; // of the log
const TOPICS = 50;
const SECONDS = 60; // of the chart
const PATIENCE = 8000; // ms for the answer to a post
const SILENCE = 5000; // ms without statistics, of which there are some each second
const AGAIN = 1000; // ms until a stream that the browser has given up is opened again
const get = (id) => document.getElementById(id);
const state = { token: null, number: 0, prefixes: [""], topics: new Map(), log: [], paused: false, mine: 0, last: null,
                rates: [], due: false, heard: 0 };

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const number = (value) => value.toLocaleString("en");
const topicsOf = (prefixes) => prefixes.map((prefix) => prefix || "all").join(" ");

// -- what comes

function show(status, name) {
  const place = get("status");
  if (place.textContent !== status) place.textContent = status;
  place.dataset.state = name;
}

// What is shown is as old as the last word of the server: say so, and show no rate.
function stale(status) {
  show(status, "waiting");
  get("main").classList.add("stale");
  for (const id of ["rate-all", "rate-mine"]) get(id).textContent = "\u2013";
}

function hello(value) {
  state.token = value.token;
  state.number = value.number;
  state.last = null;
  const wanted = state.prefixes;
  subscribed(value.prefixes);
  if (wanted.join("\n") !== value.prefixes.join("\n")) subscribe(wanted); // the filter outlives a connection
}

function subscribed(prefixes) {
  state.prefixes = prefixes;
  for (const topic of state.topics.keys()) {
    if (!prefixes.some((prefix) => topic.startsWith(prefix))) state.topics.delete(topic);
  }
  note("subscribed", `subscribed to ${topicsOf(prefixes)}`);
  redraw();
}

function message([topic, text]) {
  show("connected", "open");
  state.mine += 1;
  const row = state.topics.get(topic) || { count: 0 };
  const wanted = state.prefixes.some((prefix) => topic.startsWith(prefix)); // else it had come before the change
  if (wanted && (row.count || state.topics.size < TOPICS)) state.topics.set(topic, { count: row.count + 1, text });
  state.log.push([topic, text]);
  state.log.splice(0, state.log.length - ROWS);
  redraw();
}

function statistics(value) {
  const now = performance.now();
  state.heard = now;
  get("main").classList.remove("stale");
  if (value.connected === false) show("no publisher is connected", "waiting");
  else show("connected", "open");
  if (state.last) {
    const seconds = Math.max(0.2, (now - state.last.at) / 1000);
    const all = (value.fanout.received - state.last.received) / seconds;
    const mine = (state.mine - state.last.mine) / seconds;
    state.rates.push([all, mine]);
    state.rates.splice(0, state.rates.length - SECONDS);
    drawChart(all, mine);
  }
  state.last = { at: now, received: value.fanout.received, mine: state.mine };
  drawConnections(value);
  drawPump(value);
  const form = get("send-form");
  for (const field of form.elements) field.disabled = !value.can_post;
  if (!value.can_post) note("sent", "There is no endpoint to push to: start with --push ENDPOINT.");
}

// -- drawing

function redraw() {
  if (state.due || state.paused) return;
  state.due = true;
  requestAnimationFrame(() => {
    state.due = false;
    if (!state.paused) drawMessages();
  });
}

function drawMessages() {
  const rows = [...state.topics].sort(([a], [b]) => (a < b ? -1 : 1)).map(([topic, { count, text }]) => {
    const row = element("tr");
    row.append(element("td", topic), element("td", number(count), "n"), element("td", text));
    return row;
  });
  get("topics").tBodies[0].replaceChildren(...rows);
  get("log").replaceChildren(...state.log.map(([topic, text]) => {
    const item = element("li");
    item.append(element("b", topic), element("span", text));
    return item;
  }).reverse());
}

function drawChart(all, mine) {
  get("rate-all").textContent = all.toFixed(0);
  get("rate-mine").textContent = mine.toFixed(0);
  const peak = Math.max(4, ...state.rates.flat());
  const unit = 10 ** Math.floor(Math.log10(peak));
  const top = [1, 2, 5, 10].map((step) => step * unit).find((value) => value >= peak);
  get("chart-top").textContent = `${number(top)}/s`;
  const step = 600 / (SECONDS - 1);
  const left = 600 - step * (state.rates.length - 1);
  const points = (which) => state.rates.map((pair, index) =>
    `${(left + index * step).toFixed(1)},${(119 - 116 * pair[which] / top).toFixed(1)}`).join(" ");
  get("line").setAttribute("points", points(1));
  get("area").setAttribute("points", `${left.toFixed(1)},119 ${points(0)} 600,119`);
}

function drawConnections(value) {
  const rows = value.connections.map((each) => {
    const here = each.number === state.number;
    const row = element("tr", undefined, here ? "here" : "");
    row.append(
      element("td", here ? `${each.number} (this)` : `${each.number}`),
      element("td", topicsOf(each.prefixes)),
      element("td", `${number(each.queue)} / ${number(each.maxsize)}`, "n"),
      element("td", number(each.lost), each.lost ? "n lost" : "n"),
      element("td", number(each.sent), "n"),
    );
    return row;
  });
  get("connections").tBodies[0].replaceChildren(...rows);
  const policy = value.connections.length ? value.connections[0].overflow.replace("_", " ") : "";
  const more = value.all_connections - value.connections.length;
  get("policy").textContent = `When a queue is full: ${policy}.` + (more > 0 ? ` And ${more} more pages.` : "");
}

function drawPump(value) {
  const { pump, fanout, publisher } = value;
  const rows = [["engine", pump.engine], ["channels", pump.channels], ["received", pump.received], ["sent", pump.sent],
    ["waiting to be got", pump.waiting], ["pending", pump.pending], ["delivered to pages", fanout.delivered],
    ["lost by pages", fanout.dropped], ["prefixes that libzmq knows", fanout.prefixes]];
  if (publisher) {
    rows.push(["publisher", publisher.pid === null ? "starting again" : `process ${publisher.pid}`],
              ["publisher restarts", publisher.restarts]);
  }
  get("pump").replaceChildren(...rows.flatMap(([name, is]) =>
    [element("dt", name), element("dd", typeof is === "number" ? number(is) : is)]));
}

function note(id, text, bad = false) {
  const place = get(id);
  if (place.textContent !== text) place.textContent = text;
  place.classList.toggle("bad", bad);
}

// -- what is posted

async function post(path, value) {
  try {
    const response = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value),
      signal: AbortSignal.timeout(PATIENCE),
    });
    return response.ok ? null : (await response.json()).error;
  } catch {
    // A browser has six connections to a server, and the event stream of each page holds one.
    return "no answer: the server has gone, or six pages are open in this browser, which is all it connects";
  }
}

async function subscribe(prefixes) {
  const error = await post("/subscriptions", { token: state.token, prefixes });
  if (error) note("subscribed", error, true);
}

get("filter-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = get("filter").value.split(/[\s,]+/).filter(Boolean);
  subscribe(words.length ? [...new Set(words)] : [""]);
});

get("send-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = get("text");
  const error = await post("/messages", { topic: get("topic").value, text: text.value });
  note("sent", error || "pushed", Boolean(error));
  if (!error) text.value = "";
  text.focus();
});

get("pause").addEventListener("click", (event) => {
  state.paused = !state.paused;
  event.target.textContent = state.paused ? "Resume" : "Pause";
  event.target.classList.toggle("on", state.paused);
  redraw();
});

// -- the stream; the browser opens it again by itself, unless it has given up

function listen() {
  const source = new EventSource("/events");
  for (const listener of [hello, subscribed, message, statistics]) {
    source.addEventListener(listener.name, (event) => listener(JSON.parse(event.data)));
  }
  source.addEventListener("end", (event) => note("subscribed", JSON.parse(event.data), true));
  source.addEventListener("error", () => {
    state.heard = 0;
    stale("the server has gone: connecting");
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN);
  });
}

setInterval(() => {
  if (state.heard && performance.now() - state.heard > SILENCE) stale("no word from the server");
}, 1000);
listen();
