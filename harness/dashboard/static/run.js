// The page of a run: its charts, as they come near; a section that would only have held a chart goes with it.

import { drawLazily } from "./chart.js";

drawLazily();

for (const card of document.querySelectorAll("#curve, #vitals")) {
  const drawn = [...card.querySelectorAll(".drawn")];
  new MutationObserver(() => {
    const empty = drawn.every((each) => each.hidden);
    if (card.hidden === empty) return; // to set it again would call this again, for ever
    card.hidden = empty;
    document.querySelector(`nav a[href="#${card.id}"]`).parentElement.hidden = card.hidden;
  }).observe(card, { attributes: true, attributeFilter: ["hidden"], subtree: true });
}
