//! Every limit of the questions to another host's identity, with its reason.

use std::time::Duration;

use anello_base::units::KIB;

/// How old an answer may be: as long as a host of a cluster needs to see what another one has changed. A setting; see
/// [`ANSWER_SECONDS_LONGEST`].
pub const ANSWER_SECONDS: u64 = 5;

/// The longest that may be set: what OpenStack's services keep answers for.
pub const ANSWER_SECONDS_LONGEST: u64 = 300;

/// How long it is remembered that a token or key is not valid: a program that tries one again and again costs one
/// question in this time, and a key that was made after it was first tried works this much later.
pub(super) const REFUSAL_AGE: Duration = Duration::from_secs(1);

/// Answers remembered, of tokens and of keys each: some 1 KB. What fell out is asked for again.
pub(super) const ANSWERS_MAX: u64 = 20_000;

/// Refusals remembered, of tokens and of keys each: some 100 bytes.
pub(super) const REFUSALS_MAX: u64 = 20_000;

/// A whole question, with its attempts and, for a key, all its parts. Behind it the answer is 503.
pub(super) const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);

/// One attempt. A validation takes milliseconds; a log-in some 20 ms, and more where many log in.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);

/// A connection, without TLS's handshake.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Attempts of a question that nobody answered, or with a 5xx: all are GETs, and may be repeated.
pub(super) const ATTEMPTS_MAX: u32 = 2;

/// Before the next attempt: long enough for a server behind a balancer to be left out.
pub(super) const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);

/// How long identity is not asked after it did not answer: requests fail at once meanwhile, and do not pile up.
pub(super) const REST: Duration = Duration::from_secs(1);

/// How long no log-in is tried after one was refused. Identity locks out who fails too often: ours lets 30 in a minute.
pub(super) const LOGIN_REST: Duration = Duration::from_secs(10);

/// Which part of its life a service user's token has left when it is renewed.
pub(super) const RENEWAL_PART: u32 = 10;

/// How often identity is asked whether it is there, for `anello status`; and the token renewed where it is time.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// How often the same problem is logged.
pub(super) const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Requests to identity at the same time; more wait within [`QUESTION_TIMEOUT`].
pub(super) const REQUESTS_AT_ONCE_MAX: usize = 64;

/// Connections kept for the next requests.
pub(super) const IDLE_CONNECTIONS_MAX: usize = 16;

/// How long they are kept: less than servers keep theirs (Apache 5 s at the least; ours 75 s).
pub(super) const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(4);

/// Bytes of an answer: a token without its catalog has some 2 KB, a list of roles some 1 KB for each.
pub(super) const ANSWER_BYTES_MAX: usize = 1024 * KIB as usize;

/// Bytes of the file with the service user's password; Keystone lets a password have 4,096 letters.
pub(super) const PASSWORD_BYTES_MAX: u64 = 16 * KIB;

/// How often a trust may have been passed on; Keystone's default.
pub(super) const REDELEGATIONS_MAX: usize = 3;

const _: () = assert!(ATTEMPT_TIMEOUT.as_secs() * (ATTEMPTS_MAX as u64) < QUESTION_TIMEOUT.as_secs());
const _: () = assert!(CONNECT_TIMEOUT.as_secs() < ATTEMPT_TIMEOUT.as_secs());
const _: () = assert!(60 / LOGIN_REST.as_secs() < 30);
const _: () = assert!(ANSWER_SECONDS <= ANSWER_SECONDS_LONGEST);
