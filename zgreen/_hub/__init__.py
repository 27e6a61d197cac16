"""The hub side: runs in greenlets of the pump's hub (and in foreign threads that put and get). Touches no socket."""
