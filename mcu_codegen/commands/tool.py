"""What both command-line tools share: verbs that load lazily, one-line errors, exit codes."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence

from ..errors import BuildError, InputError


@contextlib.contextmanager
def interrupts_arrive() -> Iterator[None]:
    """Inside, no interrupt is lost. One that falls into a destructor or a callback of a weak reference cannot be raised
    there (Python prints it and goes on), so it is sent again a moment later."""
    outer = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            main = threading.main_thread().ident
            threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()
        else:
            outer(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = outer


def run(
    tool: str, description: str, verbs: Mapping[str, tuple[str, str]], arguments: Sequence[str] | None = None
) -> int:
    """Parse `arguments`, run the chosen verb and return the exit status: 0 done, 1 a check failed, 2 bad
    input, or C that does not build.

    `verbs` maps a verb to (module, one-line help). The module has ``configure(parser)``, which adds the options, and
    ``run(options)``, which returns the status; or it has ``VERBS``, such a mapping, and they are the verb's own. It is
    imported only when its verb is used.
    """
    parser = argparse.ArgumentParser(prog=tool, description=description)
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _add(parser, verbs, arguments)
    options = parser.parse_args(arguments)
    try:
        with interrupts_arrive():
            status = int(options.run(options) or 0)
        sys.stdout.flush()
        return status
    except (InputError, BuildError) as error:
        print(f"{tool}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{tool}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the flush at the end complain
        return 141


def _add(parser: argparse.ArgumentParser, verbs: Mapping[str, tuple[str, str]], arguments: Sequence[str]) -> None:
    """Give `parser` the verbs, and the options of the one that `arguments` begin with."""
    chosen = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    place = next((place for place, word in enumerate(arguments) if not word.startswith("-")), len(arguments))
    for verb, (module_name, text) in verbs.items():
        verb_parser = chosen.add_parser(verb, help=text, description=text)
        if [verb] == list(arguments[place : place + 1]):
            module = importlib.import_module(module_name)
            if hasattr(module, "VERBS"):
                _add(verb_parser, module.VERBS, arguments[place + 1 :])
            else:
                module.configure(verb_parser)
                verb_parser.set_defaults(run=module.run)
