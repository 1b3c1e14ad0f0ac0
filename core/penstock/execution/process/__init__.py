"""The process launcher: an attempt as a process of this machine, in a directory of its own."""
