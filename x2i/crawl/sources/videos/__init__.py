"""Videos: frames chosen by cut and by interval."""
