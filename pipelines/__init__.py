"""The application: plans and runs the stages of x2i, on this machine or on Ray, and the `x2i` command line."""
