"""Files, processes, memory and signals. Knows nothing of pictures."""
