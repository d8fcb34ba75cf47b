"""The root of every error a user can mend."""


class SpotifyDagError(Exception):
    """Something the user can mend. The message names the thing, the value and the remedy."""
