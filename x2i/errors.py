"""Errors whose message is for the user: what was found, where, what was expected, what to do."""


class UserError(Exception):
    """Bad usage or bad input: a wrong option, a missing file, a broken configuration. Exit code 2."""


class RunError(Exception):
    """Something failed while running: damaged data, a full disk, a diverged loss, a lost server. Exit code 1."""
