"""The subcommands of `omnigen`: one file each, with a function `command`."""
