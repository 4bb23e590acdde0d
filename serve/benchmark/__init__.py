"""How fast the endpoint is, beside the predictor alone and peers: `python -m serve.benchmark`."""
