"""One file per command: `jamflow VERB ...` and `python -m launch.VERB ...` are the same thing."""
