"""Load-test an ML API and split every request into the stages it spent its time in."""

__version__ = "0.1.0"
