"""The shapes a stored result is written in, a few rows at a time: values pass through as they were stored."""
