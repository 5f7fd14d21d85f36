"""Who held a resource while others waited for it."""
