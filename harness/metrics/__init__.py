"""A run that is on, as metrics, for Prometheus to read or pushed as OTLP: for eyes and alarms, never a verdict."""
