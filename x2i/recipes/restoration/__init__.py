"""The restoration family: a damaged photograph in, the photograph itself out. A recipe says what the damage is."""
