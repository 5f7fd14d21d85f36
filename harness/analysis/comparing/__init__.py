"""Two sides of a comparison: what interleaved pairs of runs show, what earlier runs predict, where a history broke."""
