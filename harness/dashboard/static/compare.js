// The comparison: charts as they come into view, and a look now and then at whether the differences are there.

import { getJson } from "./api.js";
import { drawLazily } from "./chart.js";

drawLazily();

const waiting = document.querySelector("[data-wait]");
if (waiting) look(500);

async function look(pause_ms) {
  await new Promise((resolve) => setTimeout(resolve, pause_ms));
  try {
    const state = await getJson(waiting.dataset.wait);
    if (state.ready) {
      location.reload();
      return;
    }
  } catch (error) {
    waiting.textContent = error.message;
    return;
  }
  look(Math.min(pause_ms * 1.3, 3000));
}
