"""The reference identity server: the services that give Azure's tokens, as their documentation says.

    GET  /metadata/identity/oauth2/token       IMDS
    GET  /appservice/token                     App Service
    GET  /arc/metadata/identity/oauth2/token   Azure Arc, with its challenge
    GET  /ml/token                             Azure Machine Learning
    POST /TENANT/oauth2/v2.0/token             Entra ID: secret, certificate, federated token

It looks at what it is given as the real ones do, answers with real JWTs, and can be told to
misbehave: `faults` holds what the next requests get instead of a token."""

import json
import os
import secrets
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pki

RESOURCE = "https://storage.azure.com/"
SCOPE = "https://storage.azure.com/.default"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE = "api://AzureADTokenExchange"


class Refusal(Exception):
    def __init__(self, status, error, description, headers=()):
        super().__init__(description)
        self.status, self.error, self.headers = status, error, dict(headers)


class IdentityServer:
    """Serves on `url` (http) or, with `tls` (certificate, key), on https. Use as a context manager."""

    tenant = "11111111-2222-3333-4444-555555555555"
    client = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
    lifetime = 3600          # seconds, as said
    real_lifetime = None     # of the JWT, if it is another

    def __init__(self, folder, tls=None):
        self.folder = folder
        self.key = pki.make_key(os.path.join(folder, f"sts-{secrets.token_hex(4)}.key"))
        self.secret = "client-secret-" + secrets.token_urlsafe(24)
        self.header = "identity-header-" + secrets.token_hex(16)
        self.arc_folder = "/var/opt/azcmagent/tokens"
        self.certificate = None        # of the application: set by register()
        self.issuer_key = None         # of the cluster: set by trust_cluster()
        self.identities = {}           # user-assigned ones: {"client_id": ..., ...}
        self.seen_ids = set()          # jti of assertions
        self.tokens = []               # what was given
        self.requests = []             # (method, path, headers, form)
        self.faults = []               # callables that get the handler; True: it has answered
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.stopped.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ------------------------------------------------------------ what it knows

    def register(self, certificate):
        """An application's certificate, with which it may sign in."""
        self.certificate = certificate
        self.certificate_key = pki.public_key(certificate, certificate + ".pub")

    def trust_cluster(self, key, issuer="https://oidc.example/cluster",
                      subject="system:serviceaccount:default:trainer"):
        self.issuer_key = pki.public_key(key, key + ".pub")
        self.issuer, self.subject = issuer, subject

    def service_account_token(self, key, lifetime=3600, **claims):
        now = int(time.time())
        return pki.sign_jwt(key, dict({"iss": self.issuer, "sub": self.subject, "aud": [EXCHANGE],
                                       "iat": now - 5, "nbf": now - 5, "exp": now + lifetime},
                                      **claims))

    def make_token(self, client):
        now = int(time.time())
        lifetime = self.lifetime if self.real_lifetime is None else self.real_lifetime
        token = pki.sign_jwt(self.key, {
            "aud": RESOURCE, "iss": f"https://sts.windows.net/{self.tenant}/", "iat": now - 5,
            "nbf": now - 5, "exp": now + lifetime, "appid": client, "jti": secrets.token_hex(8)})
        with self.lock:
            self.tokens.append(token)
        return token

    # ------------------------------------------------------------ what it can be told to do

    def fail(self, status, times=1, error="server_error", description="told to fail", headers=()):
        def fault(handler):
            handler.send(status, {"error": error, "error_description": description}, dict(headers))
            return True
        self.faults += [fault] * times

    def answer(self, body, times=1):
        """A 200 with these bytes."""
        def fault(handler):
            handler.send_bytes(200, body, {"Content-Type": "application/json"})
            return True
        self.faults += [fault] * times

    def hang(self, times=1):
        def fault(handler):
            self.stopped.wait(120)
            return True
        self.faults += [fault] * times

    def count(self):
        with self.lock:
            return len(self.requests)

    # ------------------------------------------------------------ its services

    def managed(self, handler, query, api_version, names):
        self.expect(query.get("api-version") == api_version, "invalid_request", "api-version")
        self.expect(query.get("resource") == RESOURCE, "invalid_resource",
                    f"the resource {query.get('resource')} is not known")
        chosen = {theirs: query[ours] for ours, theirs in names.items() if ours in query}
        unknown = set(query) - {"api-version", "resource"} - set(names)
        self.expect(not unknown and len(chosen) <= 1, "invalid_request", f"unknown {unknown}")
        for name, value in chosen.items():
            self.expect(self.identities.get(name) == value, "invalid_request", "Identity not found")
        client = self.identities.get("client_id", "system") if chosen else "system"
        handler.send(200, {"access_token": self.make_token(client), "client_id": client,
                           "expires_in": str(self.lifetime),
                           "expires_on": str(int(time.time()) + self.lifetime),
                           "not_before": str(int(time.time()) - 5), "resource": RESOURCE,
                           "token_type": "Bearer"})

    def imds(self, handler, query):
        self.expect(handler.headers.get("Metadata") == "true", "invalid_request",
                    "Required metadata header not specified")
        self.expect("X-Forwarded-For" not in handler.headers, "invalid_request", "a proxy")
        self.managed(handler, query, "2018-02-01",
                     {"client_id": "client_id", "object_id": "object_id",
                      "msi_res_id": "resource_id"})

    def app_service(self, handler, query):
        if handler.headers.get("X-IDENTITY-HEADER") != self.header:
            raise Refusal(401, "unauthorized", "X-IDENTITY-HEADER is wrong")
        self.managed(handler, query, "2019-08-01",
                     {"client_id": "client_id", "principal_id": "object_id",
                      "mi_res_id": "resource_id"})

    def machine_learning(self, handler, query):
        if handler.headers.get("secret") != self.header:
            raise Refusal(401, "unauthorized", "secret is wrong")
        self.managed(handler, query, "2017-09-01", {"clientid": "client_id"})

    def arc(self, handler, query):
        self.expect(handler.headers.get("Metadata") == "true", "invalid_request", "Metadata")
        given = handler.headers.get("Authorization", "")
        if not given:
            name = os.path.join(self.arc_folder, secrets.token_hex(8) + ".key")
            self.arc_secret = secrets.token_hex(32)
            with open(self.arc_host_path(name), "w") as file:
                file.write(self.arc_secret)
            raise Refusal(401, "unauthorized", "challenge",
                          {"WWW-Authenticate": f"Basic realm={name}"})
        if given != "Basic " + self.arc_secret:
            raise Refusal(401, "unauthorized", "the key is wrong")
        self.managed(handler, query, "2020-06-01", {})

    def arc_host_path(self, name):
        return name

    def entra(self, handler, tenant, form):
        self.expect(handler.headers.get("Content-Type") == "application/x-www-form-urlencoded",
                    "invalid_request", "AADSTS900144: the body is no form")
        self.expect(tenant == self.tenant, "invalid_request",
                    f"AADSTS90002: Tenant '{tenant}' not found")
        self.expect(form.get("grant_type") == "client_credentials", "unsupported_grant_type",
                    "AADSTS70003: the grant type is not supported")
        self.expect(form.get("scope") == SCOPE, "invalid_scope", "AADSTS70011: the scope is invalid")
        self.expect(form.get("client_id") == self.client, "unauthorized_client",
                    "AADSTS700016: Application was not found in the directory\nTrace ID: 1234")
        if "client_secret" in form:
            if form["client_secret"] != self.secret:
                # The worst that a server can do: say the secret itself.
                raise Refusal(401, "invalid_client", "AADSTS7000215: Invalid client secret "
                              f"provided: {form['client_secret']}. Trace ID: 1\nTimestamp: now")
        else:
            self.expect(form.get("client_assertion_type") == ASSERTION, "invalid_request",
                        "AADSTS7000218: no client_assertion or client_secret")
            self.check_assertion(handler, form.get("client_assertion", ""))
        handler.send(200, {"token_type": "Bearer", "expires_in": self.lifetime,
                           "ext_expires_in": self.lifetime,
                           "access_token": self.make_token(self.client)})

    def check_assertion(self, handler, assertion):
        try:
            issuer = json.loads(pki.decode(assertion.split(".")[1])).get("iss")
            if self.issuer_key and issuer == self.issuer:
                _, claims = pki.read_jwt(assertion, self.issuer_key)
                if claims["sub"] != self.subject or EXCHANGE not in claims["aud"]:
                    raise ValueError("AADSTS70021: No matching federated identity record found")
            elif self.certificate:
                header, claims = pki.read_jwt(assertion, self.certificate_key)
                if header.get("x5t#S256") != pki.thumbprint(self.certificate):
                    raise ValueError("AADSTS700027: the certificate is not registered")
                if claims["aud"] != self.url + handler.path:
                    raise ValueError("AADSTS50027: the audience is wrong")
                if claims["iss"] != self.client or claims["sub"] != self.client:
                    raise ValueError("AADSTS700021: issuer and subject are not the client")
                if claims["jti"] in self.seen_ids:
                    raise ValueError("AADSTS700024: the assertion was used before")
                self.seen_ids.add(claims["jti"])
            else:
                raise ValueError("AADSTS700027: nothing is registered")
            now = time.time()
            if not claims["nbf"] - 300 <= now < claims["exp"]:
                raise ValueError("AADSTS700024: Client assertion is not within its valid time range")
            if claims["exp"] - now > 90_000:
                raise ValueError("AADSTS700024: the assertion is valid for too long")
        except (KeyError, IndexError, ValueError) as error:
            raise Refusal(401, "invalid_client", str(error)) from error

    @staticmethod
    def expect(condition, error, description):
        if not condition:
            raise Refusal(400, error, description)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.serve({})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        text = self.rfile.read(length).decode()
        self.serve(dict(urllib.parse.parse_qsl(text, keep_blank_values=True)))

    def serve(self, form):
        owner = self.owner
        with owner.lock:
            owner.requests.append((self.command, self.path, dict(self.headers), form))
            fault = owner.faults.pop(0) if owner.faults else None
        try:
            if fault is None or not fault(self):
                self.route(form)
        except Refusal as refusal:
            self.send(refusal.status, {"error": refusal.error, "error_description": str(refusal)},
                      refusal.headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def route(self, form):
        path, _, text = self.path.partition("?")
        query = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
        parts = path.strip("/").split("/")
        if self.command == "POST" and parts[1:] == ["oauth2", "v2.0", "token"]:
            return self.owner.entra(self, parts[0], form)
        service = {"/metadata/identity/oauth2/token": self.owner.imds,
                   "/arc/metadata/identity/oauth2/token": self.owner.arc,
                   "/appservice/token": self.owner.app_service,
                   "/ml/token": self.owner.machine_learning}.get(path)
        if service is None or self.command != "GET":
            raise Refusal(404, "not_found", "there is nothing here")
        return service(self, query)

    def send(self, status, document, headers=()):
        self.send_bytes(status, json.dumps(document).encode(),
                        dict({"Content-Type": "application/json; charset=utf-8"}, **dict(headers)))

    def send_bytes(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
