"""Runs that go on just as long as their SLOs need: planned looks at what is recorded so far."""
