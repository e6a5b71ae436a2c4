"""The edits family: a photograph and a request in, the changed photograph out, or the way back to the photograph."""
