// Requests to our own server. A failure is an Error with `message`, `hint` and `status`, as the server said it.

export class ApiError extends Error {
  constructor(message, hint, status) {
    super(message);
    this.hint = hint;
    this.status = status;
  }
}

export const getJson = (url, options = {}) => asked(url, options);

export function postJson(url, content, options = {}) {
  const token = document.querySelector('meta[name="harness-token"]')?.content ?? "";
  const headers = { "Content-Type": "application/json", "X-Harness-Token": token };
  return asked(url, { ...options, method: "POST", headers, body: JSON.stringify(content) });
}

async function asked(url, options) {
  let answer;
  try {
    answer = await fetch(url, { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("the dashboard does not answer", "is `harness ui` still running?", 0);
  }
  let content = null;
  try {
    content = await answer.json();
  } catch {
    content = null;
  }
  if (!answer.ok) {
    throw new ApiError(content?.error ?? `the answer was ${answer.status}`, content?.hint ?? null, answer.status);
  }
  return content;
}

/** An element: `make("p", {class: "soft"}, "text", child)`. Text stays text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** What went wrong, for a person: the sentence, the hint, and a way to try again. */
export function failure(error, again = null) {
  const box = make("div", { class: "failed-here", role: "alert" }, make("p", {}, sentence(error.message)));
  if (error.hint) box.append(make("p", { class: "soft small" }, sentence(error.hint)));
  if (again) {
    const button = make("button", { type: "button" }, "Try again");
    button.addEventListener("click", again, { once: true });
    box.append(button);
  }
  return box;
}

const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);
