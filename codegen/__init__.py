"""Code generation: templates and the context that feeds them."""
