"""One file for each command: its flags, its help, what it calls. `cli.py` puts them together."""
