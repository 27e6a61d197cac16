"""Built on Channel's public face alone."""
