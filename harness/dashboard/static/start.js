// The form that starts a run: its plan while one types, a question before another host.

import { failure, postJson } from "./api.js";

const form = document.getElementById("start");
const problem = document.getElementById("problem");
const plan = document.getElementById("plan");
const confirming = document.getElementById("confirm");
const begins = document.getElementById("begins");
const go = document.getElementById("go");
let asking = null;
let typing = 0;

const wanted = () => Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));

/** What the form would do; a mistake in it is said at once. */
async function refresh() {
  asking?.abort();
  const own = (asking = new AbortController());
  try {
    const found = await postJson("/api/runs/plan", wanted(), { signal: own.signal });
    if (own !== asking) return;
    plan.textContent = found.line;
    problem.replaceChildren();
    go.disabled = false;
  } catch (error) {
    if (own !== asking || error.name === "AbortError") return;
    plan.textContent = "";
    problem.replaceChildren(failure(error));
    go.disabled = error.status === 400;
  }
}

async function start(confirmed) {
  asking?.abort();
  clearTimeout(typing);
  hideQuestion();
  problem.replaceChildren();
  go.disabled = true;
  begins.textContent = "Starting …";
  try {
    const found = await postJson("/api/runs", { ...wanted(), confirmed });
    location.assign(found.url);
  } catch (error) {
    begins.textContent = "";
    go.disabled = false;
    if (error.status === 409) ask();
    else problem.replaceChildren(failure(error));
  }
}

async function ask() {
  const found = await postJson("/api/runs/plan", wanted());
  document.getElementById("confirm-host").textContent = found.host;
  document.getElementById("confirm-plan").textContent = found.line;
  confirming.hidden = false;
  go.hidden = true;
  document.getElementById("confirm-no").focus();
}

function hideQuestion() {
  confirming.hidden = true;
  go.hidden = false;
}

function changed() {
  hideQuestion();
  clearTimeout(typing);
  typing = setTimeout(refresh, 350);
}

function chosen() {
  const option = document.getElementById("scenario").selectedOptions[0];
  document.getElementById("target").placeholder = option?.dataset.target || "http://127.0.0.1:8000";
  changed();
}

if (form) {
  form.addEventListener("input", changed);
  document.getElementById("scenario").addEventListener("change", chosen);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start(false);
  });
  document.getElementById("confirm-yes").addEventListener("click", () => start(true));
  document.getElementById("confirm-no").addEventListener("click", () => {
    hideQuestion();
    go.focus();
  });
  chosen();
}
