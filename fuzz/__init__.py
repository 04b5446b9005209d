"""Fuzzing of the SQL guard against a real server: ``make fuzz``."""
