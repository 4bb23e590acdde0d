"""Masked language models of BERT's architecture, plain or with counterfactual data augmentation."""
