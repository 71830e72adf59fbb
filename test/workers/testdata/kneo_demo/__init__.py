"""The functions that the sample specs name, served by the Python worker in tests."""
