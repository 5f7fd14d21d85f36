// The page of a run: its charts, as they come near; a section that would only have held a chart goes with it.

import { drawLazily } from "./chart.js";

drawLazily();

for (const card of document.querySelectorAll("#curve, #vitals")) {
  const drawn = [...card.querySelectorAll(".drawn")];
  new MutationObserver(() => {
    card.hidden = drawn.every((each) => each.hidden);
    document.querySelector(`nav a[href="#${card.id}"]`).parentElement.hidden = card.hidden;
  }).observe(card, { attributes: true, attributeFilter: ["hidden"], subtree: true });
}
