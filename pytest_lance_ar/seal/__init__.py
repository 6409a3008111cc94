"""Notices what was changed during a run, or since the baseline, that nobody may change."""
