"""The recorded requests through their queue again, with one thing changed."""
