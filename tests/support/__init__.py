"""What tests share: servers, corpora, data sets, tiny networks, commands run in processes of their own."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
