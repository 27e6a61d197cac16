"""What a service needs on top of channels. Built on Channel's public face alone."""
