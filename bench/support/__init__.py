"""What the benches share: servers, our generator and its peers as child processes on cores of their own, tables."""
