"""What a model thinks of whom: the audit.

    python -m bias TARGET... --output DIR

A target is a bundle's folder, a running endpoint or a masked language model. Each analysis returns
a `section.Section`; `report` writes them all as one page.
"""
