// The request explorer: a form and a brush say what is selected, the address holds it, the server answers.

import { failure, getJson, make } from "./api.js";
import { drawFrom } from "./chart.js";
import { attributesTable, latencyTable, requestsTable, stagesTable } from "./explorer_tables.js";

const root = document.getElementById("explorer");
const form = document.getElementById("selection");
const run = encodeURIComponent(root.dataset.run);
const RANGES = { t_s: ["from", "until"], latency_ms: ["least_ms", "most_ms"] };
const DEFAULTS = { outcome: "all", phase: "measure" };
const TYPING_MS = 350;

let view = null; // of the heatmap
let order = {}; // sort, order and page of the table
let asking = null;
let typing = 0;
let pointed = false; // whether the brush was last moved by the pointer, and not by the form

function asked() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (value.trim() !== "" && DEFAULTS[name] !== value) query.append(name, value.trim());
  }
  for (const [name, value] of Object.entries(order)) query.set(name, value);
  return query;
}

function fill(query) {
  for (const field of form.elements) {
    if (!field.name) continue;
    if (field.type === "checkbox") field.checked = query.getAll(field.name).includes(field.value);
    else field.value = query.get(field.name) ?? DEFAULTS[field.name] ?? "";
  }
  order = {};
  for (const name of ["sort", "order", "page"]) if (query.has(name)) order[name] = query.get(name);
}

/**
 * Ask for what the form says. An answer that is overtaken by the next question is not shown. `step` is one that the
 * browser's way back undoes.
 */
async function refresh(step = false) {
  clearTimeout(typing);
  asking?.abort();
  const own = (asking = new AbortController());
  const problem = document.getElementById("problem");
  const found = document.getElementById("found");
  found.setAttribute("aria-busy", "true");
  const query = asked();
  try {
    const answer = await getJson(`/api/runs/${run}/requests?${query}`, { signal: own.signal });
    if (own !== asking) return;
    problem.replaceChildren();
    show(answer);
    remember(answer.query ? `?${answer.query}` : "", step);
    found.hidden = false;
  } catch (error) {
    if (own !== asking || error.name === "AbortError") return;
    document.getElementById("count").textContent = "Nothing was selected: see what is wrong below.";
    problem.replaceChildren(failure(error, error.status === 400 ? null : () => refresh(step)));
    found.hidden = true;
  } finally {
    if (own === asking) found.removeAttribute("aria-busy");
  }
}

function again(step = true) {
  delete order.page;
  return refresh(step);
}

/** The address says what is shown. */
function remember(search, step) {
  if (search !== location.search) history[step ? "pushState" : "replaceState"](null, "", search || location.pathname);
}

function show(answer) {
  const count = document.getElementById("count");
  count.replaceChildren(answer.summary, ...[answer.unended, answer.hint].filter(Boolean).map((said) => make("span", { class: "soft" }, said)));
  const whole = answer.everything;
  document.getElementById("attributes-card").hidden = whole; // there is no rest to compare with
  document.getElementById("stages-title").textContent = whole ? "Stages" : "Stages: selection and rest";
  document.getElementById("table-title").textContent = whole ? "The requests" : "The selected requests";
  document.getElementById("latency-title").textContent = answer.latency.title;
  const parts = {
    latency: latencyTable(answer.latency),
    attributes: attributesTable(answer.attributes),
    stages: stagesTable(answer.stages, whole),
    table: requestsTable(answer.table, `/runs/${run}/requests/`, answer.n, turn),
  };
  for (const [id, part] of Object.entries(parts)) place(document.getElementById(id), part);
  const most = Number(root.dataset.mostRows);
  const csv = document.getElementById("csv");
  csv.href = `/api/runs/${run}/requests.csv?${answer.query}`;
  csv.textContent = answer.n > most ? `CSV (the first ${most.toLocaleString("en")} of these)` : "CSV";
  csv.hidden = answer.n === 0;
}

/** Replace what an element holds; the keyboard stays on the control it was on. */
function place(element, part) {
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  element.replaceChildren(part);
  if (!focused) return;
  const same = [...element.querySelectorAll("[data-key]")].find((e) => e.dataset.key === focused && !e.disabled);
  (same ?? element.querySelector("[data-key]:not(:disabled)"))?.focus();
}

/** Another order, or another page, of the same selection. */
function turn(changed) {
  order = { ...order, ...changed };
  for (const name of Object.keys(order)) if (order[name] === null) delete order[name];
  refresh(true);
}

// --- the brush -----------------------------------------------------------------------------------------------

function brushed(ranges) {
  if (!pointed) return; // it was drawn from the form, which may say what no brush can
  const before = new URLSearchParams(asked()).toString();
  for (const [field, names] of Object.entries(RANGES)) {
    const range = ranges[field];
    if (range && says(field, range)) continue; // only the other side was moved
    const [low, high] = range ? rounded(field, range) : ["", ""];
    form.elements[names[0]].value = low;
    form.elements[names[1]].value = high;
  }
  if (before !== asked().toString()) again();
}

/** Outwards, to what a person would write: nothing that was inside falls out. */
function rounded(field, [one, other]) {
  const low = Math.max(0, Math.min(one, other));
  const high = Math.max(one, other);
  const digits = (value) => 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  const step = (value) => (field === "t_s" ? digits((high - low) / 100) : digits(value) / 1000);
  return [tidy(Math.floor(low / step(low)) * step(low)), tidy(Math.ceil(high / step(high)) * step(high))];
}

const tidy = (value) => String(Number(value.toPrecision(8)));

/** Whether the form has this range already, as far as the pixels of a brush can tell. */
function says(field, range) {
  const [low, high] = pixels(field) ?? [null, null];
  if (low === null) return false;
  const scale = view.scale(field === "t_s" ? "x" : "y");
  const drawn = range.map(scale).sort((a, b) => a - b);
  return Math.abs(drawn[0] - low) < 1.5 && Math.abs(drawn[1] - high) < 1.5;
}

/** Where a range of the form is on the chart; null when it has none. */
function pixels(field) {
  const [low, high] = RANGES[field].map((name) => parseFloat(form.elements[name].value));
  if (Number.isNaN(low) && Number.isNaN(high)) return null;
  const scale = view.scale(field === "t_s" ? "x" : "y");
  const [first, last] = scale.domain();
  const inside = (value, other) => scale(Math.min(Math.max(Number.isNaN(value) ? other : value, first), last));
  return [inside(low, first), inside(high, last)].sort((a, b) => a - b);
}

function drawBrush() {
  pointed = false;
  if (!view) return;
  const x = pixels("t_s");
  const y = pixels("latency_ms");
  const whole = { x: [0, view.signal("width")], y: [0, view.signal("height")] };
  const none = !x && !y;
  try {
    view.signal("brush_x", none ? [0, 0] : (x ?? whole.x)).signal("brush_y", none ? [0, 0] : (y ?? whole.y)).runAsync();
  } catch {
    // A chart without this brush: the form works alone.
  }
}

async function draw() {
  const element = document.getElementById("heatmap");
  element.addEventListener("pointerdown", () => (pointed = true), true);
  view = await drawFrom(element, `/api/runs/${run}/heatmap`, { onBrush: brushed });
  drawBrush();
}

// --- begin ---------------------------------------------------------------------------------------------------

function begin() {
  fill(new URLSearchParams(location.search));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    drawBrush();
    again();
  });
  form.addEventListener("change", () => {
    drawBrush();
    again();
  });
  form.addEventListener("input", (event) => {
    clearTimeout(typing);
    if (event.target.inputMode === "decimal") typing = setTimeout(() => (drawBrush(), again(false)), TYPING_MS);
  });
  const go = (query, step = true) => {
    fill(query);
    drawBrush();
    refresh(step);
  };
  window.addEventListener("popstate", () => go(new URLSearchParams(location.search), false));
  document.getElementById("clear").addEventListener("click", () => go(new URLSearchParams()));
  for (const link of root.querySelectorAll("a.shortcut")) {
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      go(new URL(link.href).searchParams);
    });
  }
  refresh();
  draw();
}

if (form) begin();
