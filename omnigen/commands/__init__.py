"""The subcommands of `omnigen`."""
