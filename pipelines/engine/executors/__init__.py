"""Where partitions run: this process, worker processes of this machine, Ray actors."""
