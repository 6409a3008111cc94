"""The speed half: `duel` times candidate and incumbent beside each other, `statistics` says what that proves."""
