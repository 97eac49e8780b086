"""What a model is: neurons, layers, policies, the ensemble and its file. Imports no other room, and never torch."""
