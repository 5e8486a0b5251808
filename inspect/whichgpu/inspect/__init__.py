"""What a model is: its architecture, parameters and bytes, from metadata alone."""
