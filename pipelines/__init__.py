"""The application: plans and runs the stages of x2i on Ray, and the `x2i` command line."""
