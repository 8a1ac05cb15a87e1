"""The one exception that a user is meant to see."""


class InputError(Exception):
    """Bad input. The message is one line that names the file, layer or option, what was found and what is accepted.

    Both command-line tools print it to standard error and exit with status 2.
    """
