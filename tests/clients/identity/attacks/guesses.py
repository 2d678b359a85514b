"""Passwords, secrets and passcodes that are guessed."""

from cloud import SUFFIX, ask, by_password, log_in

TITLE = "Guessing"

# More than the failures that a user has in a minute.
GUESSES = 31


def attacks(cloud):
    def named(name, password="guess", headers=()):
        user = {"name": name, "domain": {"id": cloud.red}, "password": password}
        identity = {"methods": ["password"], "password": {"user": user}}
        return ask("POST", "/auth/tokens", body={"auth": {"identity": identity}}, headers=headers)

    known, unknown = named(f"reader-{SUFFIX}"), named(f"nobody-{SUFFIX}")
    yield "a wrong password", "401", known
    same = known.json["error"]["message"] == unknown.json["error"]["message"]
    yield "the answers for a wrong password and for a user who is none", "are the same", "are the same" if same else "differ"
    victim = cloud.person("guessed", "member")
    answers = [log_in(by_password(victim.id, f"guess {number}")).status for number in range(GUESSES)]
    yield "31 wrong passwords within a minute", "429", answers[-1]
    yield "the right password then", "429", log_in(by_password(victim.id))
    headers = [("X-Forwarded-For", "192.0.2.7"), ("X-Real-IP", "192.0.2.8"), ("Forwarded", "for=192.0.2.9")]
    yield "the next guess with another address in `X-Forwarded-For`", "429", ask(
        "POST", "/auth/tokens", body={"auth": {"identity": by_password(victim.id, "guess")}}, headers=headers)
    yield "another user meanwhile", "201", log_in(by_password(cloud.member.id))
    victim = cloud.person("changed", "member")
    body = {"user": {"original_password": "guess", "password": "mine"}}
    answers = [ask("POST", f"/users/{victim.id}/password", body=body).status for _ in range(GUESSES)]
    yield "31 guesses at the change of a password", "429", answers[-1]
    victim = cloud.person("secretive", "member")
    id, _ = victim.application_credential()
    guess = {"methods": ["application_credential"], "application_credential": {"id": id, "secret": "guess"}}
    answers = [log_in(guess).status for _ in range(GUESSES)]
    yield "31 guesses at the secret of an application credential", "429", answers[-1]
