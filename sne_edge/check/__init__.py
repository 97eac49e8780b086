"""What the numbers must be: the integer reference, and the comparison of everything else against it."""
