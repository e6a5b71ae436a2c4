"""From planned samples to decoded packs."""
