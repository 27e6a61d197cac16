"""What a service needs on top of channels, built on their public face alone. Hub side; touches no socket."""
