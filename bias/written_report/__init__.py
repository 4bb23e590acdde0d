"""The written answers: one document, assembled from committed JSON, no figure typed by hand."""
