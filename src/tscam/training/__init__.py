"""Training: the loop, the order of pictures, the schedule, the optimizer, the run folder."""
