"""The executor of plans on NumPy."""
