"""The two errors a user can cause; every launcher prints them as one line and exits 1 (input) or 2 (usage, config)."""


class InputError(ValueError):
    """Input that cannot be used. The message is one line naming the file, the field and what would be right."""


class ConfigError(InputError):
    """A config field that does not exist or holds a value of the wrong kind."""
