"""The fixed C runtime, shipped as package data."""
