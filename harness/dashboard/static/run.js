// The page of a run: its charts, as they come near; a card whose charts have nothing to show goes.

import { drawLazily } from "./chart.js";

drawLazily();

for (const card of document.querySelectorAll(".card.charts")) {
  const drawn = [...card.querySelectorAll(".drawn")];
  new MutationObserver(() => {
    card.hidden = drawn.every((each) => each.hidden);
    const link = document.querySelector(`nav a[href="#${card.id}"]`);
    if (link) link.parentElement.hidden = card.hidden;
  }).observe(card, { attributes: true, attributeFilter: ["hidden"], subtree: true });
}
