"""Sites are read over real HTTP: breadth first, within the budget, as they allow; sitemaps name pages."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator

import pytest

from tests.support.hostile_server import (
    Handler,
    HostileServer,
    Request,
    Site,
    image,
    photograph,
    redirect,
    reply,
    slowly,
)
from x2i.crawl.http.policy import FetchPolicy
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import PageOptions
from x2i.crawl.sources.pages.addresses import page_identity, site_of
from x2i.crawl.sources.pages.site import PageSource
from x2i.crawl.sources.row import SourceRow

POLICY = FetchPolicy(allow_net=("127.0.0.0/8",), retries=0, timeout=10)
_IMAGE = "http://www.google.com/schemas/sitemap-image/1.1"
SITEMAP = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:i="{_IMAGE}">'


def _page(markup: str, **headers: str) -> Handler:
    return reply(200, markup.encode(), {"Content-Type": "text/html", **headers})


def _xml(markup: str, **headers: str) -> Handler:
    return reply(200, markup.encode(), {"Content-Type": "application/xml", **headers})


def _crawl(site: Site, path: str, **options: object) -> tuple[list[SourceRow], PlanningNotes]:
    notes = PlanningNotes()
    return list(PageSource(site.url(path), PageOptions(**options), POLICY).rows(notes)), notes


def _names(rows: list[SourceRow]) -> list[str]:
    return [row.url.rpartition("/")[2] for row in rows]


def _reasons(notes: PlanningNotes) -> dict[str, str]:
    return {url.rpartition("/")[2]: str(verdict.reason) for url, verdict in notes.failures}


def test_pages_are_taken_breadth_first_in_link_order_whatever_answers_first(hostile_server: HostileServer) -> None:
    routes = {
        "/": _page("<img src=0.jpg><a href=1><a href=2><a href=3>"),
        "/1": slowly(0.4, after_head=True, data=b"<img src=1.jpg><a href=11>" + b" " * 100),
        "/2": _page("<img src=2.jpg><a href=21><a href=11#x>"),
        "/3": _page("<img src=3.jpg>"),
        "/11": _page("<img src=11.jpg><a href=/>"),
        "/21": _page("<img src=21.jpg>"),
    }
    rows, _ = _crawl(hostile_server.site(routes), "/", depth=2)
    assert _names(rows) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "11.jpg", "21.jpg"]


def test_rows_come_while_the_site_is_still_being_read(hostile_server: HostileServer) -> None:
    routes = {f"/{n}": _page(f"<img src={n}.jpg><a href={n + 1}>") for n in range(50)}
    site = hostile_server.site(routes)
    rows: Iterator[SourceRow] = PageSource(site.url("/0"), PageOptions(depth=50), POLICY).rows(PlanningNotes())
    assert _names([next(rows), next(rows), next(rows)]) == ["0.jpg", "1.jpg", "2.jpg"]
    rows.close()
    assert site.hits["/4"] == 0


def test_links_without_end_end_with_the_budget_and_that_is_told(hostile_server: HostileServer) -> None:
    routes = {
        f"/p?id={n}": _page("".join(f"<a href='p?id={n * 7 + k}'>" for k in range(1, 8)) + f"<img src={n}.jpg>")
        for n in range(2_000)
    }
    site = hostile_server.site(routes)
    rows, notes = _crawl(site, "/p?id=0", depth=9, max_pages=40)
    assert len(rows) == 40
    assert sum(count for path, count in site.hits.items() if path.startswith("/p")) == 40
    assert "more pages than --max-pages allows" in notes.summary()


def test_a_page_that_moved_to_another_host_takes_its_site_along(hostile_server: HostileServer) -> None:
    there = hostile_server.site({"/new": _page("<img src=a.jpg><a href=more>"), "/more": _page("<img src=b.jpg>")})
    here = hostile_server.site({"/old": redirect(there.url("/new"))})
    rows, _ = _crawl(here, "/old", depth=1)
    assert [row.url for row in rows] == [there.url("/a.jpg"), there.url("/b.jpg")]


def test_a_linked_page_that_leads_off_the_site_is_left_out(hostile_server: HostileServer) -> None:
    there = hostile_server.site({"/x": _page("<img src=x.jpg>")})
    routes = {"/": _page(f"<a href=off><a href='{there.url('/x')}'>"), "/off": redirect(there.url("/x"))}
    rows, notes = _crawl(hostile_server.site(routes), "/", depth=3)
    assert (rows, _reasons(notes)) == ([], {"off": "not_selected"})


def test_what_pages_ask_for_is_obeyed(hostile_server: HostileServer) -> None:
    routes = {
        "/": _page("<a href=meta><a href=header><a href=nofollow><a rel='ugc nofollow' href=ugc><a href=secret/x>"),
        "/meta": _page("<meta name=robots content='noimageindex, follow'><img src=1.jpg><a href=further>"),
        "/header": _page("<img src=2.jpg>", **{"X-Robots-Tag": "noai"}),
        "/nofollow": _page("<meta name=robots content=nofollow><img src=3.jpg><a href=beyond>"),
        "/further": _page("<img src=4.jpg>"),
        "/beyond": _page("<img src=5.jpg>"),
        "/ugc": _page("<img src=6.jpg>"),
        "/secret/x": _page("<img src=7.jpg>"),
    }
    site = hostile_server.site(routes, reply(200, b"User-agent: *\nDisallow: /secret/\n"))
    rows, notes = _crawl(site, "/", depth=3)
    assert _names(rows) == ["3.jpg", "4.jpg"]
    assert _reasons(notes) == {"meta": "opt_out", "header": "opt_out", "x": "robots_disallowed"}
    assert not site.hits["/beyond"] + site.hits["/ugc"] + site.hits["/secret/x"]


def test_a_page_that_only_sends_visitors_on_says_where(hostile_server: HostileServer) -> None:
    site = hostile_server.site({"/": _page("<meta http-equiv=refresh content='0;url=/real'>")})
    rows, notes = _crawl(site, "/")
    assert (rows, notes.failures[0][1].detail) == (
        [],
        f"it only sends visitors on to {site.url('/real')}: name that as the source",
    )


def test_bodies_are_judged_by_content(hostile_server: HostileServer) -> None:
    routes = {
        "/": _page("<a href=photo><a href=xhtml><a href=pdf><a href=map>"),
        "/photo": image(photograph()),
        "/xhtml": _xml("<html xmlns='http://www.w3.org/1999/xhtml'><img src='x.jpg'/></html>"),
        "/pdf": reply(200, b"%PDF-1.7", {"Content-Type": "application/pdf"}),
        "/map": _xml(f"{SITEMAP}</urlset>"),
    }
    rows, notes = _crawl(hostile_server.site(routes), "/", depth=1)
    assert _names(rows) == ["photo", "x.jpg"]
    assert _reasons(notes) == {"pdf": "unsupported_format", "map": "unsupported_format"}


def test_a_sitemap_names_pages_and_what_their_images_show(hostile_server: HostileServer) -> None:
    other = "<url><loc>http://other.example/</loc></url>"
    entry = "<i:image><i:loc>/1.jpg</i:loc><i:caption>a cat</i:caption></i:image>"
    entry += "<i:image><i:loc>/2.jpg</i:loc></i:image>"
    body = SITEMAP + other + "".join(f"<url><loc>/{name}</loc>{entry}</url>" for name in ("a", "gone", "no"))
    routes = {
        "/sitemap.xml": _xml(body + "</urlset>", **{"X-Robots-Tag": "noindex, follow"}),
        "/a": _page("<img src=1.jpg><a href=b>"),
        "/b": _page("<img src=b.jpg>"),
        "/no": _page("<meta name=robots content=noai>"),
    }
    site = hostile_server.site(routes)
    rows, notes = _crawl(site, "/sitemap.xml")
    assert [(row.url, row.text, row.page_url) for row in rows] == [
        (site.url("/1.jpg"), "a cat", site.url("/a")),
        (site.url("/2.jpg"), "", site.url("/a")),
    ]
    assert _reasons(notes) == {"gone": "http_client_error", "no": "opt_out"}
    assert _names(_crawl(site, "/sitemap.xml", depth=1)[0]) == ["1.jpg", "2.jpg", "b.jpg"]


def test_license_documents_that_pages_name_are_heeded(hostile_server: HostileServer) -> None:
    license = "<license><prohibits>{}</prohibits></license>"
    terms = f'<rsl xmlns="https://rslstandard.org/rsl"><content url="{{}}">{license}</content></rsl>'
    link = '<link rel=license type="application/rsl+xml" href="{}"><img src=x.jpg><a href=more>'
    routes = {
        "/": _page("<a href=refused><a href=free><a href=inside><a href=down><a href=lost>"),
        "/refused": _page(link.format("/no.xml")),
        "/free": _page(link.format("/yes.xml").replace("x.jpg", "free.jpg")),
        "/inside": _page(f'<script type="application/rsl+xml">{terms.format("/", "ai-train")}</script><img src=y.jpg>'),
        "/down": _page(link.format("/500.xml")),
        "/lost": _page(link.format("/404.xml").replace("x.jpg", "lost.jpg")),
        "/no.xml": _xml(terms.format("/refused", "ai-all")),
        "/yes.xml": _xml(terms.format("/", "ai-input")),
        "/500.xml": reply(500),
    }
    rows, notes = _crawl(hostile_server.site(routes), "/", depth=1)
    assert _names(rows) == ["free.jpg", "lost.jpg"]
    assert _reasons(notes) == {"refused": "opt_out", "inside": "opt_out", "down": "http_server_error"}


def test_an_index_leads_to_sitemaps_of_its_site_without_running_in_circles(hostile_server: HostileServer) -> None:
    def index(*names: str) -> str:
        return f"<sitemapindex>{''.join(f'<sitemap><loc>{name}</loc></sitemap>' for name in names)}</sitemapindex>"

    packed = gzip.compress(f"{SITEMAP}<url><loc>/a</loc></url></urlset>".encode())
    routes = {
        "/index": _xml(index("/index", "/1.xml.gz", "/deep1", "http://other.example/s.xml", "/gone", "/page")),
        "/1.xml.gz": reply(200, packed, {"Content-Type": "application/x-gzip"}),
        "/deep1": _xml(index("/deep2")),
        "/deep2": _xml(index("/deep3")),
        "/deep3": _xml(f"{SITEMAP}<url><loc>/never</loc></url></urlset>"),
        "/page": _page("not a sitemap"),
        "/a": _page("<img src=a.jpg>"),
    }
    site = hostile_server.site(routes)
    rows, notes = _crawl(site, "/index")
    assert _names(rows) == ["a.jpg"]
    assert _reasons(notes) == {"s.xml": "not_selected", "gone": "http_client_error", "page": "unsupported_format"}
    assert not site.hits["/deep3"]


def test_the_sitemaps_in_robots_txt_are_read_on_request(hostile_server: HostileServer) -> None:
    async def robots(request: Request, writer: asyncio.StreamWriter) -> None:
        lines = [f"Sitemap: {site.url('/map')}", "Sitemap: http://other.example/s.xml", "Sitemap: /map"]
        await reply(200, "\n".join(lines).encode())(request, writer)

    routes = {
        "/": _page("<img src=home.jpg><a href=linked>"),
        "/linked": _page("<img src=linked.jpg>"),
        "/hidden": _page("<img src=hidden.jpg>"),
        "/map": _xml(f"{SITEMAP}<url><loc>/</loc></url><url><loc>/hidden</loc></url></urlset>"),
    }
    site = hostile_server.site(routes, robots)
    assert _names(_crawl(site, "/")[0]) == ["home.jpg"]
    rows, notes = _crawl(site, "/", sitemaps=True, depth=1)
    assert _names(rows) == ["home.jpg", "hidden.jpg", "linked.jpg"]
    assert _reasons(notes) == {"s.xml": "not_selected"}


def test_a_text_sitemap_and_its_budget(hostile_server: HostileServer) -> None:
    routes = {f"/{n}": _page(f"<img src={n}.jpg>") for n in range(9)}
    handlers: dict[str, Handler] = dict(routes)

    async def listing(request: Request, writer: asyncio.StreamWriter) -> None:
        body = "\n".join(site.url(f"/{n}") for n in range(9)).encode()
        await reply(200, body, {"Content-Type": "text/plain"})(request, writer)

    handlers["/all.txt"] = handlers["/all"] = listing
    site = hostile_server.site(handlers)
    rows, notes = _crawl(site, "/all.txt", max_pages=4)
    assert _names(rows) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert "more pages" in notes.summary()
    assert _names(_crawl(site, "/all")[0]) == [f"{n}.jpg" for n in range(9)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://www.a.example/x", "https://A.example:443/", True),
        ("http://b\u00fccher.example/", "http://xn--bcher-kva.example/", True),
        ("http://a.example:8080/", "http://a.example/", False),
        ("http://img.a.example/", "http://a.example/", False),
        ("http://a.example./", "http://a.example/", True),
    ],
)
def test_which_hosts_are_one_site(one: str, other: str, same: bool) -> None:
    assert (site_of(one) == site_of(other)) is same


def test_names_of_one_page_are_equal() -> None:
    assert page_identity("HTTP://A.example:80/x#y") == page_identity("http://a.example/x")
    assert page_identity("http://a.example") == page_identity("http://a.example/")
    assert site_of("http://[") == site_of("mailto:x") == ""
