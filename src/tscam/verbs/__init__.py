"""What the command line does, one module a verb: a function that takes the verb's settings."""
