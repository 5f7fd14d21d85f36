"""What makes slow requests slow, and what they have in common."""
