"""What the modules cost, held against torch's own; each is a command that writes JSON."""
