"""What `results.tsv` tells a person in the morning: the rows, the picture and the page."""
