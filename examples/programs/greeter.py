#!/usr/bin/python3
"""A service of a few lines: POST /greet with ["NAME"] answers a greeting."""
import http.server
import json
import os


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        arguments = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/greet":
            self.answer(200, {"greeting": f"hello {arguments[0]}"})
        else:
            self.answer(404, {"error": f"no function {self.path[1:]}"})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
