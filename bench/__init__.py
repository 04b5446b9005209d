"""Measurements of pgsched beside the plain way: ``python -m bench`` (``make bench``)."""
