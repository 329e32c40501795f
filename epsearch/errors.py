"""The two kinds of trouble a command reports in one message instead of a traceback."""


class UserError(ValueError):
    """The user's input is wrong: the message says what, where, and the remedy. Exit code 2."""


class StudyError(RuntimeError):
    """The study could not be carried through: the message says what is kept and how to go on. Exit code 1."""
