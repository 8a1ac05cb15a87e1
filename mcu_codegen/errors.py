"""The two exceptions that a user is meant to see, as one line and status 2."""

import re


class InputError(Exception):
    """Bad input. The message is one line that names the file, layer or option, what was found and what is accepted.

    Both command-line tools print it to standard error and exit with status 2.
    """


class BuildError(Exception):
    """A compiler refuses C, or a linker has no room for it. All that it said is in a note."""

    def __init__(self, where: str, said: str) -> None:
        """`where` names compiler and core; the message is its first complaint in `said`."""
        lines = said.strip().splitlines() or ["no message"]
        complaints = (line for line in lines if re.search(r"\b[Ee]rror: |will not fit|undefined reference", line))
        super().__init__(f"{where} refuses: {next(complaints, lines[-1]).strip()}")
        self.add_note(said)
