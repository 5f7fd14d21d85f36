// The list of runs: search, order, two to compare, tags, runs to conclude.

import { getJson, make, postJson } from "./api.js";

const AT_A_TIME = 200;
const table = document.getElementById("runs");

function begin() {
  const body = table.tBodies[0];
  const search = document.getElementById("q");
  const more = document.getElementById("more");
  const state = { rows: [...body.rows], shown: AT_A_TIME };

  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const row of state.rows) {
      const fits = words.every((word) => row.dataset.text.includes(word));
      row.hidden = !fits || ++found > state.shown;
    }
    more.hidden = found <= state.shown;
    document.getElementById("none").hidden = found > 0;
    const many = (n) => n.toLocaleString("en-US");
    document.getElementById("count").textContent = `${many(found)} of ${many(state.rows.length)} runs`;
  };

  search.addEventListener("input", () => {
    state.shown = AT_A_TIME;
    show();
  });
  if (table.dataset.complete === "yes") search.form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    state.shown += AT_A_TIME;
    show();
  });
  for (const head of table.tHead.querySelectorAll("th")) {
    head.querySelector("button").addEventListener("click", () => {
      state.rows = sorted(state.rows, head);
      body.append(...state.rows);
      show();
    });
  }
  body.addEventListener("change", (event) => event.target.classList.contains("pick") && picked());
  body.addEventListener("click", (event) => {
    if (event.target.classList.contains("edit")) edit(event.target.closest("tr"));
    if (event.target.classList.contains("conclude")) conclude(event.target.closest("tr"), event.target);
  });
  document.getElementById("compare").addEventListener("click", compare);
  picked();
}

/** The rows in the order of a column, the other way round when it was in that order; unknown values come last. */
function sorted(rows, head) {
  const at = head.cellIndex;
  const numbers = head.classList.contains("num") || head.dataset.key === "when";
  const first = numbers ? "descending" : "ascending";
  const way = head.getAttribute("aria-sort") === first ? other(first) : first;
  for (const each of table.tHead.querySelectorAll("th")) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", way);
  const value = (row) => row.cells[at]?.dataset.value ?? "";
  const keyed = rows.map((row) => [row, numbers ? number(value(row)) : value(row).toLowerCase() || null]);
  const sign = way === "ascending" ? 1 : -1;
  keyed.sort(([, a], [, b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (a < b ? -1 : a > b ? 1 : 0);
  });
  return keyed.map(([row]) => row);
}

const other = (way) => (way === "ascending" ? "descending" : "ascending");

function number(text) {
  if (text === "") return null;
  return text === "inf" ? Infinity : Number(text);
}

const picks = () => [...table.querySelectorAll(".pick:checked")].map((box) => box.closest("tr").dataset.run);

function picked() {
  const chosen = picks();
  const button = document.getElementById("compare");
  button.disabled = chosen.length !== 2;
  button.textContent = chosen.length === 2 ? "Compare these two" : `Compare two (${chosen.length} chosen)`;
  if (!chosen.length) button.textContent = "Compare two";
}

function compare() {
  const [a, b] = picks().sort(); // names begin with their time: the earlier one is what the later is held against
  location.href = `/compare?${new URLSearchParams({ a, b })}`;
}

function edit(row) {
  const place = row.querySelector(".tags");
  const before = JSON.parse(place.dataset.tags);
  const field = make("input", {
    type: "text", value: before.join(", "), "aria-label": `Tags of ${row.dataset.run}, with commas between them`,
  });
  const said = make("span", { class: "said small", role: "alert" });
  const form = make("form", { class: "tagging" }, field, make("button", {}, "Save"), said);
  const close = (tags) => {
    form.remove();
    write(place, tags);
    place.hidden = false;
    place.querySelector(".edit").focus();
  };
  field.addEventListener("keydown", (event) => event.key === "Escape" && close(before));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const wanted = field.value.split(",").map((tag) => tag.trim()).filter(Boolean);
      const { tags } = await postJson(`/api/runs/${row.dataset.run}/tags`, { tags: wanted });
      row.dataset.text = `${row.dataset.text} ${tags.join(" ").toLowerCase()}`;
      close(tags);
    } catch (error) {
      said.textContent = `${error.message}${error.hint ? `: ${error.hint}` : ""}`;
    }
  });
  place.hidden = true;
  place.after(form);
  field.focus();
}

function write(place, tags) {
  place.dataset.tags = JSON.stringify(tags);
  const button = place.querySelector(".edit");
  button.textContent = tags.length ? "edit" : "+ tag";
  place.replaceChildren(...tags.map((tag) => make("span", { class: "tag" }, make("bdi", {}, tag))), button);
}

async function conclude(row, button) {
  const said = row.querySelector(".said");
  const address = `/api/runs/${row.dataset.run}/conclude`;
  button.disabled = true;
  said.textContent = "Being concluded; that may take half a minute.";
  try {
    let found = await postJson(address, {});
    while (found.state === "running") {
      await new Promise((resolve) => setTimeout(resolve, 700));
      found = await getJson(address);
    }
    if (found.state === "done") location.reload();
    else said.textContent = `${found.error}. ${found.hint ?? ""}`;
  } catch (error) {
    said.textContent = `${error.message}. ${error.hint ?? ""}`;
  }
  button.disabled = false;
}

if (table) begin();
document.getElementById("more-trends")?.addEventListener("click", (event) => {
  for (const each of document.querySelectorAll(".trends .more")) each.hidden = false;
  event.target.remove();
});
