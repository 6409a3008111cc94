"""What is remembered between trials. `store.Store` is the door; nothing outside opens the files behind it."""
