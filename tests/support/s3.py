"""A real S3-compatible server on this machine, for tests of datasets on object stores."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty bucket; s3fs of this process, and of those it starts, speaks to the server by environment."""
    pytest.importorskip("s3fs", reason="needs the extra x2i[cloud]")
    server_module = pytest.importorskip("moto.server", reason="needs moto and flask: pip install -e '.[dev]'")
    import s3fs

    from x2i.store.files.cache import CACHE_FOLDER

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    name = f"bucket-{secrets.token_hex(4)}"  # what one server of a process was given, the next one has too
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv(CACHE_FOLDER, str(tmp_path_factory.mktemp("cache")))
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem(use_listings_cache=False).mkdir(name)
        yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
