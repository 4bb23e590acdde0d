"""Reviews in, best checkpoint and results out: `accelerate launch -m training --help`."""
