"""Backends on servers with the OpenAI chat interface: vLLM, SGLang, transformers serve, hosted ones."""
