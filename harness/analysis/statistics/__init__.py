"""Quantiles, means and their intervals, for data that may be autocorrelated."""
