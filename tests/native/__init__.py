"""The native reader and Python's, its definition: the same of everything, whatever is read."""
