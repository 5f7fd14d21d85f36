"""A run that is on, read from its folder by another process: the run pays nothing for being watched."""

from harness.following.follower import Follower, Seen, is_on, process_of, running
from harness.following.history import Point, history

__all__ = ["Follower", "Point", "Seen", "history", "is_on", "process_of", "running"]
