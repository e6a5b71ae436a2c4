"""The error that means: the user can mend this."""


class UserError(Exception):
    """A mistake in the user's input. The message names what was found, what was expected and what to do.

    Command lines print the message alone, without a traceback, and exit with status 2.
    """
