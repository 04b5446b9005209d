"""The demo: a small shop on the embedded server, its read-only role, and queries worth looking at."""
