"""The raw record of a run for other tools: what was measured, in their formats. Nothing is judged here."""
