"""Alarms: APScheduler wakes the planner when instants come due."""

from __future__ import annotations
