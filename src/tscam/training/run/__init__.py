"""What a training run keeps and reports: its folder, states, progress, results, sample pictures, trackers."""
