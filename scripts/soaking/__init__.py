"""An hour in a machine hall: clients come and go, and are killed, frozen and cut off.

What scripts/soak is made of:

  hall     the head and the nodes: namespaces, links, who is cut off
  head     what is served: how it changes, and every state that it was in
  client   one fetch: what was done to it, how it ended, whether that was right
  process  what a process holds: memory, sockets, files

None of them decides what happens when; scripts/soak draws that from a seed.
"""


class Failed(Exception):
    """The soak cannot be had; the text is the reason, for a person."""
