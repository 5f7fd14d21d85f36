// The page of a run: its charts, as they come near; a card whose charts have nothing to show goes.

import { drawLazily } from "./chart.js";

drawLazily();

for (const card of document.querySelectorAll(".card.charts")) {
  const drawn = [...card.querySelectorAll(".drawn")];
  new MutationObserver(() => {
    card.hidden = drawn.every((each) => each.hidden);
  }).observe(card, { attributes: true, attributeFilter: ["hidden"], subtree: true });
}
