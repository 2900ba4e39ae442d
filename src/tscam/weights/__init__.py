"""Weight files: their index without PyTorch and within bounds, layouts of other projects, and the tensors."""
