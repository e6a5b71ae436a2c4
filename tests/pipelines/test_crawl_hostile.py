"""Every way a server can misbehave ends as a stored reason, and the crawl goes on within its budgets."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.support.crawling import QUICK, Cost, crawl, crawl_in_a_process, crawl_stage, stored_records, url_table
from tests.support.hostile_server import (
    Handler,
    HostileServer,
    Site,
    drip,
    endless,
    failing_first,
    garbage,
    gzip_bomb,
    image,
    over_and_over,
    photograph,
    png_bomb,
    raw,
    redirect,
    reply,
    reset,
    slowly,
)
from tests.support.opted_out_files import data_mining, jpeg_with_manifest, manifest, png_with, webp_with, with_xmp, xmp
from x2i.image import decode
from x2i.image_record import ImageRecord
from x2i.store.files.tar import read_range

PHOTO = photograph()
HALF = len(PHOTO) // 2
MEGABYTE = 1 << 20
HTML = b"<html><body>Not found, sorry</body></html>"
OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"


@dataclass(frozen=True)
class Case:
    """What a path answers, and what the row of its URL must say in the end."""

    handler: Handler
    reason: str
    status: int | None = None
    opt_out: str = ""


@dataclass(frozen=True)
class Host:
    """A site of its own around one image, /a.jpg, and what the row of that image must say. asked: how often it was."""

    reason: str
    routes: Mapping[str, Handler] = field(default_factory=dict)
    robots: Handler | None = None
    opt_out: str = ""
    asked: int | None = None


def chunked(*pieces: bytes) -> Handler:
    """Sends `pieces` as they are, after a head that announces chunks."""
    return raw(OK_HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + b"".join(pieces))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def packed(data: bytes, encoding: str) -> Handler:
    return reply(200, data, {"Content-Type": "image/jpeg", "Content-Encoding": encoding})


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


BODIES: dict[str, Case] = {
    "/good.jpg": Case(image(PHOTO), "ok", 200),
    "/no-type.jpg": Case(reply(200, PHOTO), "ok"),
    "/called-html.jpg": Case(reply(200, PHOTO, {"Content-Type": "text/html"}), "ok"),
    "/png-called-jpeg.jpg": Case(image(photograph(format="PNG")), "ok"),
    "/with-cookie.jpg": Case(image(PHOTO, Set_Cookie="id=1; Domain=.example; Max-Age=99999"), "ok"),
    "/http-1.0.jpg": Case(raw(b"HTTP/1.0 200 OK\r\n\r\n" + PHOTO), "ok", 200),
    "/no-length.jpg": Case(raw(OK_HEAD + b"Connection: close\r\n\r\n" + PHOTO), "ok"),
    "/early-hints.jpg": Case(
        raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK_HEAD + b"Connection: close\r\n\r\n" + PHOTO), "ok"
    ),
    "/chunked.jpg": Case(chunked(chunk(PHOTO[:HALF]), chunk(PHOTO[HALF:]), chunk(b"")), "ok"),
    "/chunked-and-cut.jpg": Case(chunked(chunk(PHOTO[:HALF])), "body_truncated", 200),
    "/chunked-nonsense.jpg": Case(chunked(b"many\r\n" + PHOTO), "connection_error"),
    "/chunk-too-short.jpg": Case(chunked(b"10\r\n" + PHOTO), "connection_error"),
    "/html-called-jpeg.jpg": Case(image(HTML), "not_an_image", 200),
    "/svg.jpg": Case(image(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), "unsupported_format"),
    "/half.jpg": Case(image(PHOTO[:HALF]), "image_truncated", 200),
    "/noise.jpg": Case(image(bytes(range(256)) * 40), "not_an_image"),
    "/bomb.png": Case(image(png_bomb(60000, 60000)), "too_many_pixels"),
    "/wide-bomb.png": Case(image(png_bomb(2**31 - 1, 1)), "too_many_pixels"),
    "/one-pixel.png": Case(image(photograph(side=1, format="PNG")), "too_small"),
    "/tiny.jpg": Case(image(photograph(side=8)), "too_small"),
    "/empty.jpg": Case(image(b""), "body_empty", 200),
    "/endless.jpg": Case(endless, "body_too_large", 200),
    "/endless-chunks.jpg": Case(
        over_and_over(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk(bytes(65536))), "body_too_large"
    ),
    "/huge.jpg": Case(image(PHOTO + bytes(3 * MEGABYTE)), "body_too_large"),
    "/says-huge.jpg": Case(image(PHOTO, Content_Length="99999999999"), "body_too_large"),
    "/says-more.jpg": Case(image(PHOTO, Content_Length=str(len(PHOTO) + 100)), "body_truncated"),
    "/says-nonsense.jpg": Case(image(PHOTO, Content_Length="many"), "connection_error"),
    "/says-below-zero.jpg": Case(image(PHOTO, Content_Length="-5"), "connection_error"),
    "/says-two-lengths.jpg": Case(
        raw(OK_HEAD + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n" + PHOTO), "connection_error"
    ),
}
ENCODINGS: dict[str, Case] = {
    "/gzipped.jpg": Case(packed(gzip.compress(PHOTO), "gzip"), "ok"),
    "/deflated.jpg": Case(packed(zlib.compress(PHOTO), "deflate"), "ok"),
    "/bare-deflate.jpg": Case(packed(bare_deflate(PHOTO), "deflate"), "ok"),
    "/identity.jpg": Case(packed(PHOTO, "identity"), "ok"),
    "/utf-8.jpg": Case(packed(PHOTO, "UTF-8"), "ok"),
    "/none.jpg": Case(packed(PHOTO, "none"), "ok"),
    "/gzip-and-identity.jpg": Case(packed(gzip.compress(PHOTO), "aws-chunked, gzip, identity"), "ok"),
    "/gzip-then-brotli.jpg": Case(packed(gzip.compress(PHOTO), "gzip, br"), "bad_encoding"),
    "/gzip-twice.jpg": Case(packed(gzip.compress(gzip.compress(PHOTO)), "gzip, gzip"), "bad_encoding"),
    "/gzip-twice-said-once.jpg": Case(packed(gzip.compress(gzip.compress(PHOTO)), "gzip"), "not_an_image"),
    "/gzip-unsaid.jpg": Case(packed(gzip.compress(PHOTO), "identity"), "not_an_image"),
    "/gzip-bomb.jpg": Case(packed(gzip_bomb(200), "gzip"), "body_too_large"),
    "/gzip-bomb-in-gzip.jpg": Case(packed(gzip.compress(gzip_bomb(200)), "gzip"), "not_an_image"),
    "/gzip-cut.jpg": Case(packed(gzip_bomb(1)[:500], "gzip"), "body_truncated"),
    "/gzip-not.jpg": Case(packed(PHOTO, "gzip"), "bad_encoding"),
    "/gzip-of-nothing.jpg": Case(packed(gzip.compress(b"") * 1000, "gzip"), "body_empty"),
    "/brotli.jpg": Case(packed(PHOTO, "br"), "bad_encoding"),
    "/zstd.jpg": Case(packed(PHOTO, "zstd"), "bad_encoding"),
}
STATUSES: dict[str, Case] = {
    "/words-in-no-encoding.jpg": Case(
        raw(b"HTTP/1.1 404 caf\xe9 \xff\xfe\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        "http_client_error",
        404,
    ),
    "/204.jpg": Case(reply(204), "body_empty", 204),
    "/206.jpg": Case(
        reply(206, PHOTO[:HALF], {"Content-Range": f"bytes 0-{HALF - 1}/{len(PHOTO)}"}), "image_truncated"
    ),
    "/300.jpg": Case(reply(300, HTML), "http_client_error", 300),
    "/304.jpg": Case(reply(304), "http_client_error", 304),
    **{
        f"/{status}.jpg": Case(reply(status, HTML), "http_client_error", status) for status in (401, 402, 403, 404, 405)
    },
    **{f"/{status}.jpg": Case(reply(status, HTML), "http_client_error", status) for status in (407, 410, 416, 451)},
    "/999.jpg": Case(reply(999), "http_client_error", 999),
    "/500.jpg": Case(reply(500, HTML), "http_server_error", 500),
    "/502.jpg": Case(reply(502, HTML), "http_server_error", 502),
    "/503-then-ok.jpg": Case(failing_first(1, reply(503), image(PHOTO)), "ok"),
    "/503-then-ok-in-a-second.jpg": Case(
        failing_first(1, reply(503, headers={"Retry-After": "1"}), image(PHOTO)), "ok"
    ),
    "/503-until-a-date-gone-by.jpg": Case(
        failing_first(1, reply(503, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}), image(PHOTO)), "ok"
    ),
    "/429.jpg": Case(reply(429, headers={"Retry-After": "0"}), "http_rate_limited", 429),
    "/429-in-words.jpg": Case(reply(429, headers={"Retry-After": "\u00b2 soon"}), "http_rate_limited", 429),
}
CONNECTIONS: dict[str, Case] = {
    "/reset.jpg": Case(reset, "connection_error", 0),
    "/reset-then-ok.jpg": Case(failing_first(1, reset, image(PHOTO)), "ok"),
    "/hangs-up.jpg": Case(raw(b""), "connection_error", 0),
    "/garbage.jpg": Case(garbage, "connection_error", 0),
    "/half-a-head.jpg": Case(raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), "connection_error", 0),
    "/silent.jpg": Case(slowly(60), "timeout", 0),
    "/head-drips.jpg": Case(over_and_over(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"z", 0.2), "timeout", 0),
    "/stalls.jpg": Case(slowly(60, after_head=True, data=PHOTO), "timeout", 200),
    "/drips.jpg": Case(drip(PHOTO, 0.2), "timeout", 200),
    "/endless-head.jpg": Case(
        over_and_over(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"y" * 4000 + b"\r\n"), "connection_error"
    ),
    "/endless-header.jpg": Case(over_and_over(b"HTTP/1.1 200 OK\r\nX-More: ", b"y" * 65536), "connection_error"),
    "/many-headers.jpg": Case(
        raw(OK_HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n" + PHOTO), "connection_error"
    ),
    "/endless-hints.jpg": Case(over_and_over(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.05), "timeout", 0),
}
REDIRECTIONS: dict[str, Case] = {
    **{
        f"/{status}-to-good.jpg": Case(redirect("/good.jpg", status), "ok", 200) for status in (301, 302, 303, 307, 308)
    },
    "/to-good-beside.jpg": Case(redirect("good.jpg"), "ok"),
    "/to-good-with-fragment.jpg": Case(redirect("/good.jpg#part"), "ok"),
    "/loop.jpg": Case(redirect("/loop.jpg"), "too_many_redirects"),
    "/there.jpg": Case(redirect("/and-back.jpg"), "too_many_redirects"),
    "/and-back.jpg": Case(redirect("/there.jpg"), "too_many_redirects"),
    **{f"/hop{n}.jpg": Case(redirect(f"/hop{n + 1}.jpg"), "too_many_redirects" if n < 2 else "ok") for n in range(7)},
    "/hop7.jpg": Case(image(PHOTO), "ok"),
    "/to-private.jpg": Case(redirect("http://10.0.0.1/x.jpg"), "blocked_address"),
    "/to-metadata.jpg": Case(redirect("http://169.254.169.254/latest/meta-data/"), "blocked_address"),
    "/to-decimal.jpg": Case(redirect("http://167772161/x.jpg"), "blocked_address"),
    "/to-octal.jpg": Case(redirect("http://012.0.0.1/x.jpg"), "blocked_address"),
    "/to-hex.jpg": Case(redirect("http://0xa.0.0.1/x.jpg"), "blocked_address"),
    "/to-short.jpg": Case(redirect("http://10.1/x.jpg"), "blocked_address"),
    "/to-mapped.jpg": Case(redirect("http://[::ffff:10.0.0.1]/x.jpg"), "blocked_address"),
    "/to-nat64.jpg": Case(redirect("http://[64:ff9b::10.0.0.1]/x.jpg"), "blocked_address"),
    "/to-6to4.jpg": Case(redirect("http://[2002:a00:1::]/x.jpg"), "blocked_address"),
    "/to-link-local.jpg": Case(redirect("http://[fe80::1%25eth0]/x.jpg"), "blocked_address"),
    "/to-https-private.jpg": Case(redirect("https://192.168.1.1/x.jpg"), "blocked_address"),
    "/to-userinfo.jpg": Case(redirect("http://public.example@10.0.0.1/x.jpg"), "bad_url"),
    "/to-file.jpg": Case(redirect("file:///etc/passwd"), "bad_url"),
    "/to-ftp.jpg": Case(redirect("ftp://127.0.0.1/x.jpg"), "bad_url"),
    "/to-data.jpg": Case(redirect("data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="), "bad_url"),
    "/to-mail-port.jpg": Case(redirect("http://127.0.0.1:25/x.jpg"), "bad_url"),
    "/to-undecodable.jpg": Case(redirect("http://xn--a/x.jpg"), "bad_url"),
    "/to-endless-label.jpg": Case(redirect(f"http://{'a' * 300}.example/x.jpg"), "bad_url"),
    "/to-empty-label.jpg": Case(redirect("http://a..example/x.jpg"), "bad_url"),
    "/to-nonsense.jpg": Case(redirect("http://[::1/x.jpg"), "bad_url"),
    "/to-nowhere.jpg": Case(reply(302), "http_client_error", 302),
    "/to-secret.jpg": Case(redirect("/private/secret.jpg"), "robots_disallowed"),
    "/to-reserved.jpg": Case(redirect("/reserved/a.jpg"), "opt_out", opt_out="tdmrep.json: /reserved/"),
}
SIGNALS: dict[str, Case] = {
    "/no-ai.jpg": Case(image(PHOTO, X_Robots_Tag="noai, noimageai"), "opt_out", 200, "x-robots-tag: noai"),
    "/no-index-for-us.jpg": Case(image(PHOTO, X_Robots_Tag="x2i: noindex"), "opt_out", 200, "x-robots-tag: noindex"),
    "/no-index-for-others.jpg": Case(image(PHOTO, X_Robots_Tag="otherbot: noindex"), "ok"),
    "/tdm.jpg": Case(image(PHOTO, TDM_Reservation="1"), "opt_out", 200, "tdm-reservation: 1"),
    "/tdm-0.jpg": Case(image(PHOTO, TDM_Reservation="0"), "ok"),
    "/usage.jpg": Case(image(PHOTO, Content_Usage="search=y, train-ai=n"), "opt_out", 200, "content-usage: train-ai=n"),
    "/signal.jpg": Case(image(PHOTO, Content_Signal="ai-train=no"), "opt_out", 200, "content-signal: ai-train=no"),
    "/usage-yes.jpg": Case(image(PHOTO, Content_Usage="train-ai=y"), "ok"),
    "/private/secret.jpg": Case(image(PHOTO), "robots_disallowed", 0),
    "/untrained/a.jpg": Case(image(PHOTO), "opt_out", 0, "robots.txt: training is refused"),
    "/untrained/but-this.jpg": Case(image(PHOTO), "ok"),
    "/reserved/a.jpg": Case(image(PHOTO), "opt_out", 0, "tdmrep.json: /reserved/"),
    "/reserved/free.jpg": Case(image(PHOTO), "ok"),
}
NOT_TRAINED = {"cawg.ai_training": {"use": "notAllowed"}}
FILES: dict[str, Case] = {
    **{
        f"/plus.{kind}": Case(
            image(with_xmp(data_mining("PROHIBITED-AIMLTRAINING"), kind)),
            "opt_out",
            200,
            "xmp plus:DataMining: prohibited-aimltraining",
        )
        for kind in ("JPEG", "PNG", "WEBP")
    },
    "/plus-allowed.jpg": Case(image(with_xmp(data_mining("ALLOWED"), "JPEG")), "ok", 200),
    "/tdm-inside.jpg": Case(
        image(with_xmp(xmp("<tdm:reservation>1</tdm:reservation>"), "JPEG")), "opt_out", 200, "xmp tdm:reservation: 1"
    ),
    **{
        name: Case(image(data), "opt_out", 200, "cawg.training-mining: ai_training notAllowed")
        for name, data in (
            ("/c2pa.jpg", jpeg_with_manifest(manifest("cawg.training-mining", NOT_TRAINED), 100)),
            ("/c2pa.png", png_with("caBX", manifest("cawg.training-mining", NOT_TRAINED))),
            ("/c2pa.webp", webp_with(b"C2PA", manifest("cawg.training-mining", NOT_TRAINED, b"json"))),
        )
    },
    "/c2pa-allowed.jpg": Case(
        image(jpeg_with_manifest(manifest("cawg.training-mining", {"cawg.ai_training": {"use": "allowed"}}))), "ok", 200
    ),
}
CASES = BODIES | ENCODINGS | STATUSES | CONNECTIONS | REDIRECTIONS | SIGNALS | FILES
ROBOTS = reply(
    200,
    b"User-agent: *\nDisallow: /private/\n"
    b"Content-Usage: /untrained/ train-ai=n\nContent-Usage: /untrained/but-this.jpg train-ai=y\n",
)
TDMREP = reply(
    200,
    json.dumps(
        [
            {"location": "/reserved/free.jpg", "tdm-reservation": 0},
            {"location": "/reserved/", "tdm-reservation": 1, "tdm-policy": "https://a.example/policy"},
        ]
    ).encode(),
)


def robots(text: str | bytes, **headers: str) -> Handler:
    return reply(200, text.encode() if isinstance(text, str) else text, headers)


def tdmrep(document: object) -> Mapping[str, Handler]:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return {"/.well-known/tdmrep.json": reply(200, data)}


RESERVED = [{"location": "/", "tdm-reservation": 1}]
RSL = '<rsl xmlns="https://rslstandard.org/rsl"><content url="/"><license>{}</license></content></rsl>'
NO_TRAINING = RSL.format('<prohibits type="usage">ai-train</prohibits>').encode()
TO_BE_PAID = RSL.format('<permits type="usage">ai-all</permits><payment type="training"/>').encode()
FREE = RSL.format('<permits type="usage">all</permits><payment type="free"/>').encode()
LICENSED = robots("License: /license.xml\nUser-agent: *\nAllow: /\n")
RSL_LINK = {"Link": '</license.xml>; rel="license"; type="application/rsl+xml"'}


def license(body: bytes) -> Mapping[str, Handler]:
    return {"/license.xml": reply(200, body, {"Content-Type": "application/rsl+xml"})}


def linked(body: bytes | None, **headers: str) -> Mapping[str, Handler]:
    """A site whose image names a license document in its headers; None: one that is not there."""
    return {**(license(body) if body is not None else {}), "/a.jpg": image(PHOTO, **RSL_LINK, **headers)}


HOSTS: dict[str, Host] = {
    "robots 404": Host("ok", robots=reply(404), asked=1),
    "robots 403": Host("ok", robots=reply(403), asked=1),
    "robots 429": Host("http_rate_limited", robots=reply(429), asked=0),
    "robots 500": Host("http_server_error", robots=reply(500), asked=0),
    "robots empty": Host("ok", robots=robots(""), asked=1),
    "robots disallow all": Host("robots_disallowed", robots=robots("User-agent: *\nDisallow: /\n"), asked=0),
    "robots disallow us": Host(
        "robots_disallowed", robots=robots("User-agent: x2i\nDisallow: /\n\nUser-agent: *\nAllow: /\n"), asked=0
    ),
    "robots disallow others": Host("ok", robots=robots("User-agent: otherbot\nDisallow: /\n"), asked=1),
    "robots with a mark": Host(
        "robots_disallowed", robots=robots(b"\xef\xbb\xbfUser-agent: *\r\nDisallow: /a\r\n"), asked=0
    ),
    "robots in UTF-16": Host(
        "robots_disallowed", robots=robots("\ufeffUser-agent: *\nDisallow: /a\n".encode("utf-16")), asked=0
    ),
    "robots of 3 MB": Host(
        "robots_disallowed", robots=robots("User-agent: *\nDisallow: /a\n" + "# long\n" * 400_000), asked=0
    ),
    "robots without end": Host("ok", robots=endless, asked=1),
    "robots of noise": Host("ok", robots=robots(bytes(range(256)) * 100), asked=1),
    "robots is a page": Host("ok", robots=reply(200, HTML, {"Content-Type": "text/html"}), asked=1),
    "robots gzipped": Host(
        "robots_disallowed", robots=packed(gzip.compress(b"User-agent: *\nDisallow: /a"), "gzip"), asked=0
    ),
    "robots resets": Host("connection_error", robots=reset, asked=0),
    "robots is silent": Host("timeout", robots=slowly(60), asked=0),
    "robots moved": Host(
        "robots_disallowed",
        {"/elsewhere.txt": robots("User-agent: *\nDisallow: /a\n")},
        redirect("/elsewhere.txt"),
        asked=0,
    ),
    "robots loops": Host("ok", robots=redirect("/robots.txt"), asked=1),
    "robots moved to private": Host("blocked_address", robots=redirect("http://10.0.0.1/robots.txt"), asked=0),
    "robots refuses training": Host(
        "opt_out",
        {},
        robots("User-agent: *\nAllow: /\nContent-Signal: search=yes, ai-train=no\n"),
        "robots.txt: training is refused",
        0,
    ),
    "tdmrep reserves all": Host("opt_out", tdmrep(RESERVED), opt_out="tdmrep.json: /", asked=0),
    "tdmrep reserves a pattern": Host(
        "opt_out", tdmrep([{"location": "/*.jpg$", "tdm-reservation": 1}]), opt_out="tdmrep.json: /*.jpg$", asked=0
    ),
    "tdmrep reserves others": Host("ok", tdmrep([{"location": "/b", "tdm-reservation": 1}]), asked=1),
    "tdmrep of nonsense": Host("ok", tdmrep([1, None, {"location": 5}, {"tdm-reservation": 1}]), asked=1),
    "tdmrep too deep": Host("ok", tdmrep(b"[" * 100_000), asked=1),
    "tdmrep is a page": Host("ok", tdmrep(HTML), asked=1),
    "tdmrep 500": Host("ok", {"/.well-known/tdmrep.json": reply(500)}, asked=1),
    "tdmrep without end": Host("ok", {"/.well-known/tdmrep.json": endless}, asked=1),
    "tdmrep moved to private": Host("ok", {"/.well-known/tdmrep.json": redirect("http://10.0.0.1/x")}, asked=1),
    "RSL prohibits training": Host("opt_out", license(NO_TRAINING), LICENSED, "rsl: ai-train is prohibited", 0),
    "RSL wants to be paid": Host("opt_out", license(TO_BE_PAID), LICENSED, "rsl: ai-train has to be paid for", 0),
    "RSL is free": Host("ok", license(FREE), LICENSED, asked=1),
    "RSL is not there": Host("ok", {}, LICENSED, asked=1),
    "RSL is a page": Host("ok", license(HTML), LICENSED, asked=1),
    "RSL of nonsense": Host("ok", license(b"<rsl" * 100_000), LICENSED, asked=1),
    "RSL with entities": Host("ok", license(b'<!DOCTYPE x [<!ENTITY a "b">]>' + NO_TRAINING), LICENSED, asked=1),
    "RSL without end": Host("ok", {"/license.xml": endless}, LICENSED, asked=1),
    "RSL 500": Host("http_server_error", {"/license.xml": reply(500)}, LICENSED, asked=0),
    "RSL at a private address": Host("ok", {}, robots("License: http://10.0.0.1/license.xml"), asked=1),
    "RSL in a header": Host("opt_out", linked(NO_TRAINING), opt_out="rsl: ai-train is prohibited", asked=1),
    "RSL in a header is free": Host("ok", linked(FREE), asked=2),
    "RSL in a header is not there": Host("ok", linked(None), asked=2),
    "a license of another kind": Host(
        "ok", {"/a.jpg": image(PHOTO, Link='<https://creativecommons.org/licenses/by/4.0/>; rel="license"')}, asked=1
    ),
    "503 until next week": Host(
        "http_server_error", {"/a.jpg": reply(503, headers={"Retry-After": "600000"})}, asked=1
    ),
    "503 until a far date": Host(
        "http_server_error", {"/a.jpg": reply(503, headers={"Retry-After": formatdate(4e9, usegmt=True)})}, asked=1
    ),
    "429 until tomorrow": Host("http_rate_limited", {"/a.jpg": reply(429, headers={"Retry-After": "86400"})}, asked=1),
}
ELSEWHERE = {
    "http://nosuchhost.invalid/a.jpg": "dns_error",
    "http://127.0.0.1:1/nobody-listens.jpg": "connection_error",
    "http://192.168.0.1/a.jpg": "blocked_address",
    "http://[::1]/a.jpg": "blocked_address",
    "http://0/a.jpg": "blocked_address",
    "http://10.0.0.1./a.jpg": "blocked_address",
    "http://[::ffff:10.0.0.1]/a.jpg": "blocked_address",
    "http://user:secret@127.0.0.1/a.jpg": "bad_url",
    "http://127.0.0.1:99999/a.jpg": "bad_url",
    "http://127.0.0.1:6379/a.jpg": "bad_url",
    "http:///a.jpg": "bad_url",
    "http://a..example/a.jpg": "bad_url",
    "https://\u2603.invalid/a.jpg": "dns_error",
    "not a url": "bad_url",
    "": "bad_url",
    "file:///etc/hostname": "bad_url",
    "javascript:alert(1)": "bad_url",
    "data:image/png;base64,iVBORw0KGgo=": "bad_url",
}


@dataclass(frozen=True)
class Crawled:
    """One crawl over everything: records by case, the hosts' sites, the dataset, and what the crawl cost."""

    records: dict[str, ImageRecord]
    sites: dict[str, Site]
    root: Path
    cost: Cost


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Crawled:
    root = tmp_path_factory.mktemp("hostile")
    with HostileServer() as server:
        routes = {path: case.handler for path, case in CASES.items()}
        site = server.site({**routes, "/.well-known/tdmrep.json": TDMREP}, ROBOTS)
        sites = {
            name: server.site({"/a.jpg": image(PHOTO), **host.routes}, host.robots) for name, host in HOSTS.items()
        }
        names = [*CASES, *HOSTS, *ELSEWHERE]
        urls = [*map(site.url, CASES), *(one.url("/a.jpg") for one in sites.values()), *ELSEWHERE]
        source = url_table(root / "urls.csv", urls)
        stage = crawl_stage(sources=(source,), max_bytes=2 * MEGABYTE, min_side=16, per_host=64, timeout=3, **QUICK)
        cost = crawl_in_a_process(root, stage)
        return Crawled(dict(zip(names, stored_records(root), strict=True)), sites, root, cost)


@pytest.mark.parametrize("name", [*CASES, *HOSTS, *ELSEWHERE])
def test_misbehavior_is_stored_with_its_reason(crawled: Crawled, name: str) -> None:
    record = crawled.records[name]
    case = CASES.get(name) or HOSTS.get(name) or Case(raw(b""), ELSEWHERE[name])
    assert str(record.reason or record.status) == case.reason, record.detail
    if isinstance(case, Case) and case.status is not None:
        assert record.http_status == case.status
    if case.reason == "opt_out":
        assert record.opt_out == case.opt_out
    if isinstance(case, Host) and case.asked is not None:
        assert crawled.sites[name].hits["/a.jpg"] == case.asked


def test_there_are_many_ways_to_misbehave() -> None:
    bad = [case for case in [*CASES.values(), *HOSTS.values()] if case.reason != "ok"]
    assert len(bad) + len(ELSEWHERE) >= 60


def test_what_was_kept_beside_them_is_whole(crawled: Crawled) -> None:
    stored = [record for record in crawled.records.values() if record.status == "ok"]
    assert len(stored) == sum(case.reason == "ok" for case in [*CASES.values(), *HOSTS.values()])
    for record in stored:
        data = read_range(crawled.root / "images" / "00000.tar", record.data_offset, record.data_size)
        assert decode(data).shape == (record.height, record.width, 3)


def test_the_crawl_over_all_of_them_stays_within_memory_and_time(crawled: Crawled) -> None:
    assert crawled.cost.memory < 100 * MEGABYTE, crawled.cost
    assert crawled.cost.seconds < 60, crawled.cost


def test_rules_and_failures_are_never_mixed(crawled: Crawled) -> None:
    assert crawled.records["/no-ai.jpg"].status == "filtered"
    assert crawled.records["/private/secret.jpg"].status == "filtered"
    assert crawled.records["/404.jpg"].status == "failed"
    assert crawled.records["robots 500"].status == "failed"


def test_a_body_longer_than_announced_is_never_stored(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({"/a.jpg": image(PHOTO, Content_Length=str(len(PHOTO) - 100))})
    source = url_table(tmp_path / "urls.csv", [site.url("/a.jpg")])
    [record] = crawl(tmp_path / "data", crawl_stage(sources=(source,), **QUICK))
    # Which of the two depends on whether the surplus comes in the same packet.
    assert str(record.reason) in ("image_truncated", "connection_error")


def test_nothing_on_loopback_is_asked_unless_allowed(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({"/good.jpg": image(PHOTO)})
    urls = [f"http://{host}:{site.port}/good.jpg" for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1")]
    records = crawl(tmp_path / "data", crawl_stage(sources=(url_table(tmp_path / "urls.csv", urls),), timeout=2))
    assert [str(record.reason) for record in records] == ["blocked_address"] * 4
    assert not site.hits


def test_robots_txt_is_asked_once_per_host_even_if_it_is_dead(hostile_server: HostileServer, tmp_path: Path) -> None:
    live = hostile_server.site({f"/{n}.jpg": image(PHOTO) for n in range(20)}, reply(200, b"User-agent: *\nAllow: /"))
    dead = hostile_server.site({}, reply(500))
    urls = [site.url(f"/{n}.jpg") for n in range(20) for site in (live, dead)]
    stage = crawl_stage(sources=(url_table(tmp_path / "urls.csv", urls),), partition_size=10, **QUICK)
    crawl(tmp_path / "data", stage)
    assert live.hits["/robots.txt"] == 1
    assert dead.hits["/robots.txt"] == 2  # once, and its one retry
    assert sum(dead.hits.values()) == 2


def test_ignore_robots_fetches_but_heeds_opt_out_headers(hostile_server: HostileServer, tmp_path: Path) -> None:
    routes = {"/a.jpg": image(PHOTO), "/b.jpg": image(PHOTO, X_Robots_Tag="noai")}
    site = hostile_server.site(routes, reply(200, b"User-agent: *\nDisallow: /\n"))
    source = url_table(tmp_path / "urls.csv", [site.url("/a.jpg"), site.url("/b.jpg")])
    records = crawl(tmp_path / "data", crawl_stage(sources=(source,), ignore_robots=True, **QUICK))
    assert [str(record.reason or record.status) for record in records] == ["ok", "opt_out"]
    assert not site.hits["/robots.txt"]


def test_a_host_gets_no_more_requests_at_once_than_allowed(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({f"/{n}.jpg": slowly(0.05, after_head=True, data=PHOTO) for n in range(24)})
    source = url_table(tmp_path / "urls.csv", [site.url(f"/{n}.jpg") for n in range(24)])
    records = crawl(tmp_path / "data", crawl_stage(sources=(source,), per_host=3, **QUICK))
    assert all(record.status == "ok" for record in records)
    assert site.most_at_once <= 3


def test_a_delay_spaces_the_requests_to_a_host(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({f"/{n}.jpg": image(PHOTO) for n in range(6)})
    source = url_table(tmp_path / "urls.csv", [site.url(f"/{n}.jpg") for n in range(6)])
    started = time.monotonic()
    crawl(tmp_path / "data", crawl_stage(sources=(source,), delay=0.1, **QUICK))
    assert time.monotonic() - started >= 0.6  # robots.txt and six images: six pauses


def test_the_user_agent_is_honest_and_replaceable(hostile_server: HostileServer, tmp_path: Path) -> None:
    site = hostile_server.site({"/a.jpg": image(PHOTO)})
    source = url_table(tmp_path / "urls.csv", [site.url("/a.jpg")])
    crawl(tmp_path / "one", crawl_stage(sources=(source,), **QUICK))
    assert site.headers["/a.jpg"]["user-agent"].startswith("x2i/")
    crawl(tmp_path / "two", crawl_stage(sources=(source,), user_agent="MyLab/2 (+mailto:me@example.org)", **QUICK))
    assert site.headers["/a.jpg"]["user-agent"] == "MyLab/2 (+mailto:me@example.org)"
    assert site.headers["/robots.txt"]["user-agent"] == "MyLab/2 (+mailto:me@example.org)"
