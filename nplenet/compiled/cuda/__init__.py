"""The step on a GPU: launches that are captured once in a graph, and run without the host."""
