"""What a person or a hospital runs: one use a file, and the faces that call them."""
