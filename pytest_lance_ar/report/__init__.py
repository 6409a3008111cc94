"""The report of a trial, and what is made of it for GitHub Actions."""
