"""What a model can do (protocols.py), which backends do it (registry.py), and the backends themselves."""
