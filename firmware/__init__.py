"""The firmware port, shipped as package data: start-up, linker script, boards."""
