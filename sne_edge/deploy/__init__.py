"""From integers to machines: exported C, host build, firmware, and what they need of a target."""
