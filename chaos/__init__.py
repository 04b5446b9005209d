"""The chaos test: a real fleet under real faults, judged by a checker that shares no code with it."""
