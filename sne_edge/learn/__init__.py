"""What is learnt in floating point: teachers, partitions, students and their distillation."""
