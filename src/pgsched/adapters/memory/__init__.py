"""The ports in memory, for tests: one event loop, no threads, time that is moved by hand.

They are trusted only because the conformance suites run on them and on the real adapters alike.
"""
