"""A submodule."""


def deep(text: str) -> str:
    return "deep " + text
