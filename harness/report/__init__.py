"""Finished tables in, text out: the same Summary for a terminal, a pull request, a browser and a build server."""
