"""Pure functions on the ledger: no files, no terminal, no clock."""
