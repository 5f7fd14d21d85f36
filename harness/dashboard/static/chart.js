// Charts that the server declared, drawn in the page by Vega.

import { failure, getJson, make } from "./api.js";

let loading = null;

/** Vega, once: the server may still be making it when the first page asks. */
function library() {
  loading ??= import("/static/vega.js").then(() => window.vegaEmbed);
  loading.catch(() => (loading = null));
  return loading;
}

if (document.querySelector("[data-chart], #heatmap")) library(); // while the figures are on their way

/**
 * Draw a Vega-Lite spec in an element; resolves to the Vega view.
 * `onBrush(ranges, name)` hears each interval the reader selects: {field: [from, until]}, or {} when it is cleared.
 * `patch` changes the compiled Vega spec: a function or a JSON patch.
 */
export async function chart(element, spec, { onBrush = null, patch = undefined } = {}) {
  const embed = await library();
  const drawn = await embed(element, fitted(spec, element), {
    ast: true,
    renderer: "svg",
    actions: false,
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
    ...(patch === undefined ? {} : { patch }),
  });
  // The figure around it has words and a table; its hundreds of marks have none.
  for (const name of ["role", "aria-roledescription", "aria-label"]) element.removeAttribute(name);
  element.querySelector("svg")?.setAttribute("aria-hidden", "true");
  if (onBrush) for (const name of brushes(spec)) listen(drawn.view, name, onBrush);
  return drawn.view;
}

/** As wide as its place, where one plot fills the chart: a scaled picture would misplace the brush. */
function fitted(spec, element) {
  if (spec.width === "container") return spec;
  const parts = ["facet", "concat", "hconcat", "vconcat", "repeat"];
  const single = !parts.some((part) => part in spec) && !("row" in (spec.encoding ?? {}));
  if (!single || typeof spec.width !== "number") {
    element.classList.add("scaled");
    return spec;
  }
  return { ...spec, width: "container", autosize: { type: "fit-x", contains: "padding" } };
}

function brushes(spec) {
  const found = (spec.params ?? []).filter((p) => p.select === "interval" || p.select?.type === "interval");
  return [...found.map((p) => p.name), ...(spec.layer ?? []).flatMap(brushes)];
}

function listen(view, name, onBrush) {
  let timer = 0;
  view.addSignalListener(name, (_, ranges) => {
    clearTimeout(timer);
    timer = setTimeout(() => onBrush(ranges ?? {}, name), 120);
  });
}

/**
 * Fetch {spec, title, label, note, table} and draw the figure in `element`, its table behind it.
 * A spec that is null says that there is nothing to draw: the element is hidden.
 */
export async function drawFrom(element, url, options = {}) {
  element.setAttribute("aria-busy", "true");
  element.replaceChildren(make("p", { class: "waiting soft small" }, "Drawing …"));
  try {
    const drawing = await getJson(url);
    if (drawing.spec === null) {
      element.replaceChildren(); // this run has nothing of the kind
      element.hidden = true;
      return null;
    }
    const plot = make("div", { class: "plot" });
    // The figure is in the page before it is drawn: its width is the width of its place.
    element.replaceChildren(figure(drawing, plot, Boolean(options.onBrush), element.dataset));
    return await chart(plot, drawing.spec, options);
  } catch (error) {
    element.replaceChildren(failure(error, () => drawFrom(element, url, options)));
    return null;
  } finally {
    element.removeAttribute("aria-busy");
  }
}

/** A place with `data-untitled` has a heading of its own, one with `data-bare` a table beside the chart. */
function figure(drawing, plot, brushed, { untitled, bare }) {
  const caption = make("figcaption", {}, untitled === undefined ? make("strong", {}, drawing.title) : null);
  if (drawing.note) caption.append(make("span", { class: "soft small" }, drawing.note));
  const role = brushed ? "group" : "img";
  const place = make("div", { class: "chart scroll", role, "aria-label": drawing.label, tabindex: "0" }, plot);
  return make("figure", {}, caption, place, drawing.table && bare === undefined ? behind(drawing.table) : null);
}

function behind(table) {
  const cells = (row) =>
    row.map((cell, at) => (at ? make("td", { class: "num" }, cell) : make("th", { scope: "row" }, cell)));
  const heads = table.columns.map((name, at) => make("th", { scope: "col", class: at ? "num" : null }, name));
  const grid = make(
    "table", {}, make("caption", {}, table.caption), make("thead", {}, make("tr", {}, ...heads)),
    make("tbody", {}, ...table.rows.map((row) => make("tr", {}, ...cells(row)))),
  );
  const region = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": table.caption }, grid);
  return make("details", {}, make("summary", {}, "Figures behind this chart"), region);
}

/** Draw every `[data-chart="URL"]` below `root` as soon as it comes near the window. */
export function drawLazily(root = document) {
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((e) => e.isIntersecting)) {
        seen.unobserve(entry.target);
        drawFrom(entry.target, entry.target.dataset.chart);
      }
    },
    { rootMargin: "400px" },
  );
  for (const element of root.querySelectorAll("[data-chart]")) seen.observe(element);
}
