"""An S3 look-alike whose If-None-Match is check-then-write: the laws of a store must refuse it."""

import hashlib
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

OBJECTS = {}
MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def key(self):
        return unquote(urlsplit(self.path).path).split("/", 2)[2]

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        key = self.key()
        if self.headers.get("If-None-Match") == "*":
            if key in OBJECTS:
                return self.reply(412)
            time.sleep(0.05)  # the hole: others look before this one writes
        OBJECTS[key] = body
        self.reply(200, headers=[("ETag", '"%s"' % hashlib.md5(body).hexdigest())])

    def do_DELETE(self):
        OBJECTS.pop(self.key(), None)
        self.reply(204)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            return self.list(query)
        body = OBJECTS.get(self.key())
        if body is None:
            return self.reply(404)
        headers = [("ETag", '"%s"' % hashlib.md5(body).hexdigest()), ("Last-Modified", MODIFIED)]
        wanted = self.headers.get("Range")
        if wanted is None:
            return self.reply(200, body, headers)
        start, end = (int(part) for part in wanted.removeprefix("bytes=").split("-"))
        if start >= len(body):
            return self.reply(416)
        end = min(end, len(body) - 1)
        headers.append(("Content-Range", "bytes %d-%d/%d" % (start, end, len(body))))
        self.reply(206, body[start : end + 1], headers)

    def list(self, query):
        prefix = query.get("prefix", [""])[0]
        after = query.get("start-after", [""])[0]
        keys = sorted(k for k in list(OBJECTS) if k.startswith(prefix) and k > after)
        rows = "".join(
            "<Contents><Key>%s</Key><Size>%d</Size>"
            "<LastModified>1994-11-06T08:49:37.000Z</LastModified></Contents>"
            % (escape(k), len(OBJECTS.get(k, b"")))
            for k in keys[: int(query.get("max-keys", ["1000"])[0])]
        )
        body = "<ListBucketResult><IsTruncated>false</IsTruncated>%s</ListBucketResult>" % rows
        self.reply(200, body.encode(), [("Content-Type", "application/xml")])


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
