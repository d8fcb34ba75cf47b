"""What an operator declares in YAML, sources above all: see docs/how-to/extend.md. The graph is in definitions.py."""
