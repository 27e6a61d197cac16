"""The command line: ``python -m zgreen`` and ``zgreen``. Built on the public face alone.

``core`` has the commands that need nothing but zgreen, with argparse; ``app`` (click and rich, the extra ``cli``) has
these and all others. ``info``, ``bench`` and ``demo`` are commands of ``app``'s, ``output`` is how results are shown.
"""
