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

/** What the form would do: {line, host} or {error, hint}, which is said at once. */
async function refresh() {
  asking?.abort();
  const own = (asking = new AbortController());
  try {
    const found = await postJson("/api/runs/plan", wanted(), { signal: own.signal });
    if (own !== asking) return null;
    plan.textContent = found.line ?? "";
    problem.replaceChildren(...(found.error ? [failure({ message: found.error, hint: found.hint })] : []));
    go.disabled = Boolean(found.error);
    return found;
  } catch (error) {
    if (own === asking && error.name !== "AbortError") problem.replaceChildren(failure(error));
    return null;
  }
}

async function submitted() {
  clearTimeout(typing);
  const found = await refresh();
  if (!found || found.error) return;
  if (found.host) ask(found);
  else start(false);
}

async function start(confirmed) {
  hideQuestion();
  problem.replaceChildren();
  go.disabled = true;
  begins.textContent = "Starting …";
  onNow(true);
  try {
    const found = await postJson("/api/runs", { ...wanted(), confirmed });
    location.assign(found.url);
  } catch (error) {
    begins.textContent = "";
    onNow(false);
    go.disabled = false;
    problem.replaceChildren(failure(error));
  }
}

/** The card above says so, too. */
function onNow(starting) {
  document.getElementById("starting").hidden = !starting;
  const none = document.getElementById("none-on");
  if (none) none.hidden = starting;
}

function ask(found) {
  document.getElementById("confirm-host").textContent = found.host;
  document.getElementById("confirm-plan").textContent = found.line;
  confirming.hidden = false;
  plan.hidden = go.hidden = true;
  document.getElementById("confirm-no").focus();
}

function hideQuestion() {
  confirming.hidden = true;
  plan.hidden = go.hidden = false;
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
    submitted();
  });
  document.getElementById("confirm-yes").addEventListener("click", () => start(true));
  document.getElementById("confirm-no").addEventListener("click", () => {
    hideQuestion();
    go.focus();
  });
  chosen();
}
