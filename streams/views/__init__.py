"""What a person looks at: the terminal board, fed by the metrics page alone."""
