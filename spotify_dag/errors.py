"""The base class of all errors that a user can fix."""


class SpotifyDagError(Exception):
    """An error that the user can fix. The message names the thing, the value and the remedy."""
