// A run that is on: server-sent frames become figures and charts.

import { failure, getJson, make, postJson } from "./api.js";
import { chart } from "./chart.js";

const MOST_POINTS = 600;
const SPOKEN_EVERY_MS = 5000;
const AGAIN_MS = 3000;
const GAP_S = 4.5; // between two frames: some were missed
const SENDING = new Set(["warmup", "measure", "drain"]);

const root = document.getElementById("live");
const run = encodeURIComponent(root.dataset.run);
const views = {}; // by chart
const waiting = {}; // specifications of those with nothing in them
let points = []; // {t_s, failed, rows: {chart: [[series, value]]}}; `seen`: a frame, and not what the run had said
let spokenAt = 0;
let over = false;

// --- points -----------------------------------------------------------------------------------------------

const ofPast = (past) => ({
  t_s: past.t_s,
  failed: past.failed,
  rows: {
    rate: [["offered", past.offered_per_s], ["achieved", past.rate_per_s]],
    in_flight: [["in flight", past.in_flight], ["backlog", past.backlog]],
    latency: [["p50", scaled(past.p50_s)], ["p95", scaled(past.p95_s)]],
  },
});

const scaled = (seconds) => (seconds === null ? null : seconds * 1000);

const ofFrame = (frame) => ({ seen: true, t_s: frame.t_s, failed: frame.failed_total, rows: frame.rows });

/** Keep a point; the same instant is kept once. Old runs get coarser rather than longer. */
function keep(point) {
  const last = points.at(-1);
  if (point.t_s === null || (last && point.t_s <= last.t_s)) return;
  if (last && point.failed !== null && last.failed !== null) {
    const failed = Math.max(0, point.failed - last.failed) / (point.t_s - last.t_s);
    point.rows = { ...point.rows, errors: [["failed", failed]] };
  }
  point.after_gap ??= Boolean(last?.seen && point.seen && point.t_s - last.t_s > GAP_S); // once: old ones get coarser
  points.push(point);
  if (points.length > MOST_POINTS) {
    points = points.filter((each, at) => at % 2 === 0 || at >= MOST_POINTS - 60 || each.after_gap);
  }
}

/** What the run has said fills what was not seen: before one looked, or while the connection was lost. */
function together(past, frames) {
  const seen = [points, frames.map(ofFrame)].filter((some) => some.length > 0);
  const isSeen = (point) => seen.some((some) => point.t_s >= some[0].t_s && point.t_s <= some.at(-1).t_s);
  const said = past.map(ofPast).filter((point) => !isSeen(point));
  points = [];
  [...said, ...seen.flat()].sort((a, b) => a.t_s - b.t_s).forEach(keep);
}

function rowsOf(key) {
  const names = seriesOf(key);
  return points.flatMap((point, at) => {
    const found = point.rows[key] ?? [];
    const known = Object.fromEntries(found.filter(([, value]) => key !== "latency" || value > 0));
    const absent = key === "stages" && found.length ? 0 : null; // a stacked area needs every stage at every instant
    const rows = names.map((series) => ({ t_s: point.t_s, series, value: known[series] ?? absent }));
    return point.after_gap && points[at - 1]?.seen ? [...interrupted(names, points[at - 1].t_s, point.t_s), ...rows] : rows;
  });
}

/** What is not known interrupts a line: a straight one would say that it was. */
const interrupted = (names, from, until) => names.map((series) => ({ t_s: (from + until) / 2, series, value: null }));

/** The series of a chart of which something is known. */
function seriesOf(key) {
  const known = points.flatMap((point) => (point.rows[key] ?? []).filter(([, value]) => value !== null));
  return [...new Set(known.map(([series]) => series))];
}

const stagesSeen = () => seriesOf("stages");

function redraw() {
  for (const [key, view] of Object.entries(views)) view.data("live", rowsOf(key)).runAsync();
  for (const [key, spec] of Object.entries(waiting)) if (rowsOf(key).length) draw(key, spec);
  const seen = new Set(stagesSeen());
  for (const item of document.getElementById("legend").children) item.hidden = !seen.has(item.dataset.stage);
}

/** A chart is drawn when there is something in it: scales of nothing have no ends. */
async function draw(key, spec) {
  delete waiting[key];
  const place = root.querySelector(`[data-live="${key}"] .plot`);
  if (key === "stages") for (const layer of spec.layer ?? [spec]) layer.encoding.color.legend = null; // ours is HTML
  place.replaceChildren();
  try {
    views[key] = await chart(place, { ...spec, datasets: { ...spec.datasets, live: rowsOf(key) } });
  } catch (error) {
    place.replaceChildren(failure(error));
  }
}

async function drawCharts() {
  Object.assign(waiting, await getJson("/api/live/charts"));
  redraw();
}

// --- figures ----------------------------------------------------------------------------------------------

function show(frame) {
  for (const element of root.querySelectorAll("[data-text]")) {
    element.textContent = frame.texts[element.dataset.text] ?? "";
  }
  document.getElementById("phase").textContent = frame.phase_words;
  if (frame.share !== null) document.getElementById("course").value = frame.share;
  showErrors(frame.errors);
  showHealth(frame);
  speak(frame.summary);
}

function showErrors(errors) {
  document.getElementById("no-errors").hidden = errors.length > 0;
  document.getElementById("errors-scroll").hidden = errors.length === 0;
  const lines = errors.map(([what, count]) =>
    make("tr", {}, make("th", { scope: "row", class: "wide" }, make("bdi", {}, what)), make("td", { class: "num" }, count)),
  );
  document.getElementById("errors").replaceChildren(...lines);
}

function showHealth(frame) {
  const light = document.getElementById("health");
  light.className = `state ${frame.health ?? "unknown"}`;
  light.textContent = frame.health === null ? "not known yet" : frame.health_words;
  document.getElementById("doubts").replaceChildren(...frame.doubts.map((doubt) => make("li", {}, doubt)));
}

/** Said aloud at most every few seconds. */
function speak(sentence) {
  const now = Date.now();
  if (now - spokenAt < SPOKEN_EVERY_MS) return;
  spokenAt = now;
  document.getElementById("summary").textContent = sentence;
}

function connection(state, words) {
  const light = document.getElementById("connection");
  light.dataset.state = state;
  light.textContent = words;
}

// --- events -----------------------------------------------------------------------------------------------

function listen() {
  const source = new EventSource(`/api/live/${run}/events`);
  source.addEventListener("past", (event) => {
    const { points: past, frames, own } = JSON.parse(event.data);
    if (!own) disown();
    together(past, frames.filter((frame) => SENDING.has(frame.phase) && frame.t_s !== null));
    connection("on", "live");
    if (frames.length) show(frames.at(-1));
    redraw();
  });
  source.addEventListener("frame", (event) => {
    const frame = JSON.parse(event.data);
    connection("on", "live");
    show(frame);
    if (SENDING.has(frame.phase)) {
      keep(ofFrame(frame));
      redraw();
    }
  });
  source.addEventListener("over", (event) => {
    over = true;
    source.close();
    end(JSON.parse(event.data));
  });
  source.addEventListener("error", () => {
    if (over) return;
    connection("lost", "connection lost, trying again");
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  });
}

/** The dashboard that started this run has ended: the one that answers now cannot stop it. */
function disown() {
  const elsewhere = document.getElementById("elsewhere");
  document.getElementById("stop")?.remove();
  if (elsewhere) elsewhere.hidden = false;
}

function end(last) {
  const words = { finished: "This run has finished", interrupted: "This run was stopped" };
  const sentence = last.phase === "unknown" ? "No more figures." : `${words[last.phase] ?? "This run has broken off"}.`;
  connection("over", "over");
  document.getElementById("stop")?.remove();
  document.getElementById("elsewhere")?.remove();
  document.getElementById("summary").textContent = sentence;
  const box = make("section", { class: "card over", "aria-label": "The end" }, make("p", {}, make("strong", {}, sentence)));
  if (last.error) box.append(make("p", {}, last.error));
  if (last.said) box.append(make("p", { class: "soft" }, "The last it said:"), make("pre", {}, last.said));
  if (last.url) box.append(make("p", {}, make("a", { class: "button primary", href: last.url }, "See what it found")));
  else if (last.phase !== "unknown") box.append(make("p", { class: "soft" }, "Nothing was concluded; `harness report` concludes what was measured until then."));
  document.getElementById("over").replaceChildren(box);
}

// --- stop -------------------------------------------------------------------------------------------------

const button = document.getElementById("stop");
button?.addEventListener("click", async () => {
  button.disabled = true;
  try {
    const { asked } = await postJson(`/api/runs/${run}/stop`, {});
    button.textContent = asked === 1 ? "Stop at once" : "Stopping …";
    button.disabled = asked > 1;
    speak(asked === 1 ? "Stopping: what was measured is kept." : "Stopping at once.");
  } catch (error) {
    button.disabled = false;
    document.getElementById("over").replaceChildren(failure(error));
  }
});

listen();
drawCharts().catch((error) => root.querySelector(".plots").replaceChildren(failure(error, () => location.reload())));
