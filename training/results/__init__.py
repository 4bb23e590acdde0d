"""What the runs show: curves, a table and answers, all computed from their folders.

python -m training.results runs/* --output docs
"""
