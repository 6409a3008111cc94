"""What the trials of a project add up to, for who has forgotten them: the story so far, and one trial of it."""
