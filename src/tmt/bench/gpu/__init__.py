"""One short visit to a machine with a GPU: everything that is to be known of it, in one command.

Every part runs in a process of its own, within its time: what crashes, hangs or runs out of memory takes no
other part with it, and every row is on disk as soon as it is known.
"""
