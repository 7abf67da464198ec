"""From rows of somebody's table to events: what a mapping says, and the functions that are compiled of it."""
