"""A local server that speaks the Spotify Web API over the generated world. Nothing here talks to Spotify."""
