"""`python -m sne_edge` is `sne-edge`."""

from .cli import main

main()
