"""What keeps the documentation true and readable: generated reference pages, and a check of the words."""
