"""The tests. None of them asks the Hub: this is read before anything imports huggingface_hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
