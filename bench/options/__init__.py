"""Options of the command line, each declared once, with the field that it sets."""
