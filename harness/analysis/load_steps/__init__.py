"""Each load step on its own, and what changes from one to the next."""
