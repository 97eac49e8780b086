"""The whole way from a config to a calibrated model, and a finished model calibrated anew."""
