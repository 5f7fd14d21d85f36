// What the server says of a selection, as tables.

import { make } from "./api.js";

const head = (text, number = false) => make("th", { scope: "col", class: number ? "num" : null }, text);
const num = (...children) => make("td", { class: "num" }, ...children);
const percent = (width) => `${(Math.min(Math.max(width, 0), 1) * 100).toFixed(2)}%`;

function table(caption, heads, rows, className = null) {
  const grid = make("table", { class: className }, make("caption", {}, caption));
  grid.append(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  return make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption }, grid);
}

function pair(widths, variable) {
  const cell = make("td", { class: variable ? "pair" : "pair plain", "aria-hidden": "true" });
  if (variable) cell.style.setProperty("--c", `var(${variable})`);
  for (const width of widths) {
    const bar = make("span");
    bar.style.setProperty("--w", percent(width));
    cell.append(bar);
  }
  return cell;
}

const keys = () =>
  make(
    "p", { class: "keys", "aria-hidden": "true" },
    make("span", {}, make("i"), "selection"), make("span", {}, make("i", { class: "rest" }), "rest"),
  );

export function latencyTable(latency) {
  const rows = latency.rows.map((row) => {
    const value = num(row.value);
    if (row.interval) value.append(make("span", { class: "below" }, row.interval));
    else if (row.refusal) value.append(make("span", { class: "below refused" }, row.refusal));
    return make("tr", {}, make("th", { scope: "row" }, row.name), value, num(row.n));
  });
  return table(`${latency.note}`, [head("statistic"), head("ms", true), head("n", true)], rows);
}

export function attributesTable(attributes) {
  if (!attributes.rows.length) return make("p", { class: "soft" }, `None: ${attributes.none}.`);
  const rows = attributes.rows.map((row) =>
    make(
      "tr", {},
      make("th", { scope: "row", class: "wide" }, make("span", { class: "below" }, row.attribute), make("bdi", {}, row.value)),
      pair(row.widths, null),
      num(row.share, make("span", { class: "below" }, row.counts)),
      num(row.rest_share, make("span", { class: "below" }, row.rest_counts)),
    ),
  );
  const caption = "Shares of the requests of which it is known; the largest difference first, false discoveries controlled.";
  const heads = [head("attribute"), make("td", { "aria-hidden": "true" }), head("selection", true), head("rest", true)];
  const box = make("div", {}, keys());
  box.append(table(caption, heads, rows));
  return box;
}

/** `whole`: everything is selected, so there is no rest. */
export function stagesTable(stages, whole = false) {
  if (!stages.n && !stages.rest_n) {
    const which = whole ? "No request" : "No selected request, and no other one,";
    const why = `${which} was answered as expected and has a server half.`;
    return make("p", { class: "soft" }, why);
  }
  const shown = whole ? 1 : 3;
  const rows = stages.rows.map((row) => {
    const swatch = make("span", { class: "swatch" });
    swatch.style.setProperty("--c", `var(${row.variable})`);
    const label = make("th", { scope: "row" }, swatch, row.label);
    const widths = whole ? row.widths.slice(0, 1) : row.widths;
    const figures = [row.selected, row.rest, row.difference].slice(0, shown);
    return make("tr", {}, label, pair(widths, row.variable), ...figures.map((figure) => num(figure)));
  });
  const heads = [
    head("stage"), make("td", { "aria-hidden": "true" }),
    ...(whole ? ["mean (ms)"] : ["selection (ms)", "rest (ms)", "difference (ms)"]).map((text) => head(text, true)),
  ];
  const box = whole ? make("div") : make("div", {}, keys());
  const region = table(stages.note, heads, rows);
  const total = make("tr", {}, make("th", { scope: "row" }, "latency"), make("td"), ...stages.total.slice(0, shown).map((t) => num(t)));
  region.querySelector("table").append(make("tfoot", {}, total));
  box.append(region);
  return box;
}

/** `turn({sort, order, page})` asks for another order or page. */
export function requestsTable(found, address, n, turn) {
  if (!n) return make("p", { class: "soft" }, "No request is selected.");
  const sortable = (name, text, number) => {
    const sorted = found.sort === name;
    const next = sorted ? (found.order === "desc" ? "asc" : "desc") : name === "time" ? "asc" : "desc";
    const button = make("button", { type: "button", "data-key": `sort-${name}` }, text);
    button.addEventListener("click", () => turn({ sort: name, order: next, page: null }));
    const direction = sorted ? (found.order === "desc" ? "descending" : "ascending") : null;
    return make("th", { scope: "col", class: number ? "num" : null, "aria-sort": direction }, button);
  };
  const heads = [
    head("request"), sortable("time", "at (s)", true), head("kind"), sortable("latency", "latency (ms)", true),
    make("td", { "aria-hidden": "true" }), head("outcome"),
    ...found.stages.map((stage) => sortable(stage.name, stage.label, true)),
  ];
  const rows = found.rows.map((row) => requestRow(row, found.stages, address));
  const box = make("div");
  box.append(table("Times in ms, beside the instant each was scheduled at, in s.", heads, rows, "requests"));
  box.append(pager(found, n, turn));
  return box;
}

function requestRow(row, stages, address) {
  const bar = make("td", { "aria-hidden": "true" }, make("div", { class: "mini" }));
  row.widths.forEach((width, at) => {
    if (width < 0.002) return;
    const part = make("span");
    part.style.setProperty("--w", percent(width));
    part.style.setProperty("--c", `var(${stages[at].variable})`);
    bar.firstChild.append(part);
  });
  return make(
    "tr", {},
    make("th", { scope: "row" }, make("a", { href: `${address}${row.id}` }, `#${row.id}`)),
    num(row.time),
    make("td", { class: "wide-text" }, make("bdi", {}, row.name)),
    num(row.latency), bar,
    make("td", { class: row.ok ? null : "wide-text failed-text" }, make("bdi", {}, row.outcome)),
    ...row.stages.map((stage) => num(stage)),
  );
}

function pager(found, n, turn) {
  const button = (text, page, key) => {
    const made = make("button", { type: "button", "data-key": key, disabled: page < 1 || page > found.pages }, text);
    made.addEventListener("click", () => turn({ page: String(page) }));
    return made;
  };
  const count = (value) => value.toLocaleString("en");
  return make(
    "nav", { class: "pager", "aria-label": "Pages of the table" },
    button("Previous", found.page - 1, "previous"), button("Next", found.page + 1, "next"),
    make("span", { class: "soft" }, `${count(found.first)} to ${count(found.last)} of ${count(n)}`),
  );
}
