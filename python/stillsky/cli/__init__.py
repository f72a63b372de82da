"""The command line. Importing it loads click and nothing heavier; a verb loads what it needs when it runs."""

from .app import main

__all__ = ["main"]
