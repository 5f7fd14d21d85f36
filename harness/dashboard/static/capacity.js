// The load curve, as it comes into view.

import { drawLazily } from "./chart.js";

drawLazily();
