"""A package whose submodules are served."""
