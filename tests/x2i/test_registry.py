"""Names stand for classes, from inside the project and from outside."""

from __future__ import annotations

import pytest

from x2i.errors import UserError
from x2i.registry import Registry

REGISTRY: Registry = Registry("limit", {"resources": "x2i.resources:Resources"})


def test_a_name_gives_its_class():
    from x2i.resources import Resources

    assert REGISTRY.get("resources") is Resources


def test_a_class_from_outside_is_named_by_its_import_path(tmp_path, monkeypatch):
    (tmp_path / "outside_limits.py").write_text("class Mine:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert REGISTRY.get("outside_limits:Mine").__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resource", "no limit 'resource': did you mean 'resources'"),
        ("no_such_package.x:Mine", "no module 'no_such_package'"),
        ("x2i.resources:Nothing", "module x2i.resources has no class 'Nothing'"),
        ("x2i.resources:", "no limit 'x2i.resources:'"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused_in_words(name, message):
    with pytest.raises(UserError, match=message):
        REGISTRY.get(name)
