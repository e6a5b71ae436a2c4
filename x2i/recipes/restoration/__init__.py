"""The restoration family: a damaged photograph in, the photograph itself out. A recipe of it says what the damage is."""
