import concurrent.futures
import http.client
import json
import sys

import requests
from urllib3.util.retry import Retry

told = json.load(sys.stdin)
port, bodies = told["port"], iter(told["bodies"])
url = "http://127.0.0.1:%d/" % port
JSON = {"Content-Type": "application/json"}


def say(*values):
    print(json.dumps(values), flush=True)


def verdict(text):
    return json.loads(text)["results"][0]["verdict"]


def pieces(text):
    for at in range(0, len(text), 100):
        yield text[at : at + 100].encode()


class Old(http.client.HTTPConnection):
    _http_vsn, _http_vsn_str = 10, "HTTP/1.0"


def ask(connection, what, body, **options):
    connection.request("POST", "/", body, JSON, **options)
    answer = connection.getresponse()
    say(what, answer.status, verdict(answer.read()), answer.will_close)


connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
for _ in range(3):
    ask(connection, "kept", next(bodies))
ask(Old("127.0.0.1", port, timeout=60), "http/1.0", next(bodies))
ask(connection, "in chunks", pieces(next(bodies)), encode_chunked=True)
connection.request("HEAD", "/-/healthy")
answer = connection.getresponse()
say("head", answer.status, int(answer.headers["Content-Length"]), answer.read().decode())
connection.request("POST", "/", told["too_large"], JSON)
say("too large", connection.getresponse().status)
connection.close()


def session(retries=0):
    made = requests.Session()
    made.trust_env = False
    made.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=5, max_retries=retries))
    return made


def post(by, body):
    return by.post(url, data=body, headers=JSON, timeout=60)


one = session()
for _ in range(3):
    answer = post(one, next(bodies))
    say("session", answer.status_code, verdict(answer.text))
answer = post(one, pieces(next(bodies)))
say("generator", answer.status_code, verdict(answer.text))
answer = post(one, told["large"])
say("large", answer.status_code, verdict(answer.text))
with concurrent.futures.ThreadPoolExecutor(5) as threads:
    rest = list(bodies)[:5]
    answers = list(threads.map(lambda body: post(one, body), rest))
say("many threads", len(answers), sorted({verdict(answer.text) for answer in answers}))

# Without retries the answer says when to come again; with them, urllib3 would wait that long.
answer = post(session(), told["flaky"][0])
after = Retry().parse_retry_after(answer.headers["Retry-After"])
say("not asked again", answer.status_code, verdict(answer.text), after)
again = Retry(3, status_forcelist=[503], allowed_methods=None, respect_retry_after_header=False)
answer = post(session(again), told["flaky"][1])
say("asked again", answer.status_code, verdict(answer.text), [one.status for one in answer.raw.retries.history])
