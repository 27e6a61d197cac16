"""The command line: ``python -m zgreen`` and ``zgreen``. Built on the public face alone, with argparse alone.

``app`` finds the command and turns every end into an exit status; ``command`` says what a command is; ``ending`` brings
Ctrl-C and SIGTERM to it; ``output`` is how results are shown, with rich where it is installed (the extra ``cli``);
``completion`` writes completion scripts from the parsers. The other modules are a command each; those of ``client``
talk to any ZeroMQ peer.
"""
