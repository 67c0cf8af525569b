"""Look inside a network: plots, the report of a run, and the page on which one draws a digit."""
