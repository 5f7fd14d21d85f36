"""A run that is on, read from its folder by another process: the run pays nothing for being watched."""

from harness.following.follower import Follower, Seen, running

__all__ = ["Follower", "Seen", "running"]
