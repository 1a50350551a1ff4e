"""One file per command: `jamflow VERB ...` and `python -m launch.VERB ...` are the same thing."""
from launch.devices import use_what_is_there

use_what_is_there()  # before anything imports JAX
