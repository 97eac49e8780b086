"""sne-edge: spiking ensembles from a teacher network to a microcontroller, proved bit-exact on the way."""
