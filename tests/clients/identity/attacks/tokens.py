"""Tokens that were changed, have ended, or are shown where none is taken."""

import base64
import os
import time

from cloud import ask, by_token, log_in, now, send, token_of

TITLE = "Tokens"


def flipped(token, place):
    letter = "A" if token[place] != "A" else "B"
    return token[:place] + letter + token[place + 1:]


def attacks(cloud):
    token = cloud.member.token()
    assert ask("GET", "/auth/projects", token).status == 200

    def use(token):
        return ask("GET", "/auth/projects", token)

    yield "no token", "401", use(None)
    yield "an empty token", "401", use("")
    yield "a letter of the head changed", "401", use(flipped(token, 8))
    yield "a letter of the ciphertext changed", "401", use(flipped(token, len(token) // 2))
    yield "a letter of the signature changed", "401", use(flipped(token, len(token) - 8))
    yield "a token cut by a letter", "401", use(token[:-1])
    yield "a token cut in the middle", "401", use(token[: len(token) // 2])
    yield "a token with more behind it", "401", use(token + token)
    foreign = base64.urlsafe_b64encode(b"\x80" + int(time.time()).to_bytes(8, "big") + os.urandom(128)).decode()
    yield "a token made with another key", "401", use(foreign)
    yield "16 KB of letters for a token", "401", use("A" * 16_000)
    yield "the token as a query", "401", ask("GET", f"/auth/projects?X-Auth-Token={token}")
    yield "the token as `Authorization: Bearer`", "401", ask("GET", "/auth/projects", headers=[("Authorization", f"Bearer {token}")])
    yield "the token as a cookie", "401", ask("GET", "/auth/projects", headers=[("Cookie", f"X-Auth-Token={token}")])
    yield ("headers of a proxy that has checked the token (`X-Identity-Status`, `X-Roles`, `X-User-Id`)", "401",
           ask("GET", "/users", headers=[("X-Identity-Status", "Confirmed"), ("X-Roles", "admin"), ("X-User-Id", "admin"),
                                         ("X-Is-Admin-Project", "True"), ("X-Service-Roles", "service")]))
    yield "a member's token, and an administrator's as `X-Service-Token`", "403", ask(
        "GET", "/users", token, headers=[("X-Service-Token", cloud.admin)])
    yield "two `X-Auth-Token`, a bad one first", "401", ask(
        "GET", "/users", headers=[("X-Auth-Token", "bad"), ("X-Auth-Token", cloud.admin)])
    yield "two `X-Auth-Token`, a good one first", "401", ask(
        "GET", "/users", headers=[("X-Auth-Token", cloud.admin), ("X-Auth-Token", "bad")])
    yield "two `X-Auth-Token`, a member's and an administrator's", "401", ask(
        "GET", "/users", headers=[("X-Auth-Token", token), ("X-Auth-Token", cloud.admin)])
    yield "validating with two `X-Subject-Token`", "404", ask(
        "GET", "/auth/tokens", cloud.admin, headers=[("X-Subject-Token", token), ("X-Subject-Token", cloud.admin)])
    yield "two `X-Auth-Token` at the object store", "401", send(
        "GET", f"/v1/AUTH_{cloud.red_project}", [("X-Auth-Token", token), ("X-Auth-Token", "bad")])
    yield "validating another one's token", "403", ask(
        "GET", "/auth/tokens", token, headers=[("X-Subject-Token", cloud.admin)])
    yield "revoking another one's token", "403", ask(
        "DELETE", "/auth/tokens", token, headers=[("X-Subject-Token", cloud.other.token())])

    revoked = cloud.member.token()
    assert ask("DELETE", "/auth/tokens", revoked, headers=[("X-Subject-Token", revoked)]).status == 204
    yield "a revoked token", "401", use(revoked)
    yield "a revoked token, shown as `X-Subject-Token`", "404", ask(
        "GET", "/auth/tokens", cloud.admin, headers=[("X-Subject-Token", revoked)])
    yield "a new token for a revoked one", "404", log_in(by_token(revoked))
    yield "a revoked token at the object store", "401", send(
        "GET", f"/v1/AUTH_{cloud.red_project}", [("X-Auth-Token", revoked)])

    _, short = cloud.member.application_credential(expires_at=now(2).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    ended = token_of(log_in(short))
    assert use(ended).status == 200
    time.sleep(2.1)
    yield "a token after its end", "401", use(ended)
    yield "a token after its end, shown as `X-Subject-Token`", "404", ask(
        "GET", "/auth/tokens", cloud.admin, headers=[("X-Subject-Token", ended)])
    yield "a new token for one that has ended", "404", log_in(by_token(ended))
    yield "an application credential after its end", "401", log_in(short)

    first = cloud.other.token()
    second = token_of(log_in(by_token(first), cloud.other.scope))
    chained = ask("GET", "/auth/tokens", second, headers=[("X-Subject-Token", second)]).json["token"]["expires_at"]
    whole = ask("GET", "/auth/tokens", first, headers=[("X-Subject-Token", first)]).json["token"]["expires_at"]
    yield "a token renewed by itself lives longer", "no", "no" if chained == whole else "yes"
