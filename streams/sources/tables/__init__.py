"""Tables that others wrote, row by row with the line that each is on: what is not what it seems is refused by name."""
