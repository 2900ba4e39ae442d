"""Verbs of the command line, one module each: a function that takes the verb's settings."""
