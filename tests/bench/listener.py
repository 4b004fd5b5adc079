"""The article's own suggestion, for comparison only: a resident ThreadingHTTPServer that runs the handler.

    python3 listener.py PORT HANDLER
"""

import http.server
import json
import subprocess
import sys


class Listener(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        code = 200
        try:
            alerts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]
        except (KeyError, TypeError, ValueError):
            alerts, code = [], 400
        for alert in alerts:
            labels = alert["labels"]
            words = [sys.argv[2], labels["instance"], labels["alertname"], alert["fingerprint"]]
            if alert["status"] == "firing" and subprocess.run(words, stdin=subprocess.DEVNULL).returncode:
                code = 503
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    # Five by default, and then a storm waits for retransmitted SYNs.
    request_queue_size = 4096
    daemon_threads = True


Server(("127.0.0.1", int(sys.argv[1])), Listener).serve_forever()
