"""What people hand over themselves: Exportify tables and the data that Spotify sends on request.

Files are read once, at the door (`reading`), and reduced there to what the lake needs; the source yields what was kept.
"""
