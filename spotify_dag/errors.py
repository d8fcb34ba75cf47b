"""The base class of all errors that a user can fix."""


class SpotifyDagError(Exception):
    """An error that the user can fix. The message names the thing, the value and the remedy."""


def on_one_line(error: BaseException, longest: int = 200) -> str:
    """Return what an error of a library says, on one line and cut; its kind where it says nothing."""
    return " ".join(str(error).split())[:longest] or type(error).__name__
