"""The files and reports of a training run: its folder, states, progress, results, sample pictures, trackers."""
