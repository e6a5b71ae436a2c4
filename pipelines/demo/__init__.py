"""The demo: a small web site of real photographs on loopback, and one run of everything against it."""
