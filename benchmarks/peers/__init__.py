"""The peers: other stream processors, each counting by person as its own tutorial would have it."""
