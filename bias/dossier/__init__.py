"""The dossier: of the models one has, which to use where, and what speaks for and against it.

    python -m bias.dossier RUN... --output DIR

gathers what lies in run folders (results, benchmarks, parity certificates, audits) and writes it as
one page, Markdown, JSON and model cards. It measures nothing itself: what is missing is said, with
the command that makes it.
"""
