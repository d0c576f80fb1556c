"""The one exception for things a person can mend."""


class InputError(ValueError):
    """What a person gave us can't be used.

    The message is one sentence: what is wrong, where (file or key), what to do. The command line
    prints it and exits with code 2; ``preprocess`` turns it into a ledger row. Impossible states of
    our own code are ``assert``s, never this.
    """


class DiskFull(InputError):
    """There is no room for an output: the disk's trouble, not that of the clip at hand."""
