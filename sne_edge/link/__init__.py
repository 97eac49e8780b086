"""The line to a device: wire protocol, transports, emulator, and measurements over it."""
