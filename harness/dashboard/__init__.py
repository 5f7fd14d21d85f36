"""The dashboard: pages over run folders. It reads what is stored, starts `harness run`, concludes nothing itself."""
