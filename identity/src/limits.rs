//! Every limit of the identity room, with its reason.

use std::time::Duration;

/// Characters of a project's or domain's name: the width that Keystone's clients and schemas expect.
pub const PROJECT_NAME_CHARS_MAX: usize = 64;

/// Characters of a user's, group's, role's, service's, or credential's name.
pub const NAME_CHARS_MAX: usize = 255;

/// Characters of a description. Keystone has none; a body of 112 KiB would hold it anyway.
pub const DESCRIPTION_CHARS_MAX: usize = 65_536;

/// Characters of a URL in the catalog.
pub const URL_CHARS_MAX: usize = 1024;

/// Characters of an id that clients choose (regions, foreign ids in requests).
pub const ID_CHARS_MAX: usize = 255;

/// Characters of a password; Keystone's default. A longer one is refused, so that hashing stays cheap.
pub const PASSWORD_CHARS_MAX: usize = 4096;

/// Tags of one project.
pub const TAGS_MAX: usize = 80;

/// Bytes of a credential's blob.
pub const BLOB_BYTES_MAX: usize = 65_536;

/// Depth of the tree of projects below a domain, as Keystone's `max_project_tree_depth`.
pub const PROJECT_DEPTH_MAX: usize = 5;

/// Memory of one password hash: OWASP's recommendation for Argon2id with two passes (2024).
pub const ARGON2_MEMORY_KIB: u32 = 19 * 1024;

/// Passes of one password hash, see [`ARGON2_MEMORY_KIB`].
pub const ARGON2_PASSES: u32 = 2;

/// Lanes of one password hash, see [`ARGON2_MEMORY_KIB`].
pub const ARGON2_LANES: u32 = 1;

/// Passwords hashed at the same time: bounds the memory of a flood of log-ins to 76 MiB, and leaves cores to
/// the data path.
pub const HASHES_AT_ONCE_MAX: usize = 4;

/// Log-ins that may wait for a hash (some 5 s of them at 20 ms each and four at once); behind it the answer is 503.
pub const HASHES_WAITING_MAX: usize = 1024;

/// Life of a token; Keystone's default.
pub const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// How long behind its end a service may still validate a token (`allow_expired`); Keystone's default.
pub const TOKEN_EXPIRED_WINDOW: Duration = Duration::from_secs(48 * 3600);

/// How much longer than any token a revocation is kept, for clocks that differ; Keystone's default.
pub const REVOCATION_MARGIN: Duration = Duration::from_secs(1800);

/// Decrypted tokens that are remembered: some 1 KB each, and as much as a catalog is long (some 4 KB) for those that
/// services have validated. A token that fell out is decrypted again (20 µs).
pub const TOKENS_CACHED_MAX: u64 = 20_000;

/// Signing keys that are remembered, resolved to their owners: some 1 KB each.
pub const SIGNING_KEYS_CACHED_MAX: u64 = 50_000;

/// Fernet keys of each kind in use: one staged, one primary, and secondaries for what was made before.
pub const KEYS_MAX: usize = 3;

/// Age of a signed EC2 request that is still accepted; Keystone's `auth_ttl`.
pub const SIGNATURE_AGE_MAX: Duration = Duration::from_secs(15 * 60);

/// Failed log-ins of one user from one address within [`FAILED_LOGINS_WINDOW`]; behind them the answer is 429, and no
/// password is hashed. A person who mistypes is far below it, and a program that guesses gets nowhere.
pub const FAILED_LOGINS_MAX: u32 = 30;

/// See [`FAILED_LOGINS_MAX`].
pub const FAILED_LOGINS_WINDOW: Duration = Duration::from_secs(60);

/// Users and addresses whose failures are remembered: some 200 bytes each. Whoever fell out starts anew.
pub const FAILED_LOGINS_TRACKED_MAX: u64 = 50_000;

/// How long a used passcode is remembered: longer than one is accepted (two steps of 30 s).
pub const PASSCODE_LIFE: Duration = Duration::from_secs(90);

/// Characters of a passcode.
pub const PASSCODE_CHARS_MAX: usize = 16;

/// Life of a receipt for a part of a log-in; Keystone's default.
pub const RECEIPT_LIFE: Duration = Duration::from_secs(300);

/// How often a trust may be passed on; Keystone's default.
pub const TRUST_REDELEGATIONS_MAX: u64 = 3;

/// Access rules of one application credential.
pub const ACCESS_RULES_MAX: usize = 100;

/// Characters of the path of an access rule; Keystone's column.
pub const ACCESS_RULE_PATH_CHARS_MAX: usize = 128;

/// Limits in one request: some 200 bytes each fill the body.
pub const LIMITS_AT_ONCE_MAX: usize = 1000;

/// Attempts of an update that meets other writers. Each attempt reads what the winner wrote.
pub const UPDATE_ATTEMPTS_MAX: usize = 8;

/// Records read at the same time when the view is loaded.
pub const LOADS_AT_ONCE_MAX: usize = 16;

/// How long a kind of records is not listed again while its state stands.
pub const LISTED_FOR_MAX: Duration = Duration::from_secs(600);

/// Rows of one page when records are listed in the store.
pub const RECORDS_PAGE_ROWS: usize = 10_000;

/// Rows of one page when records are read from a database with their data: 200 KB of usual records, and 256 MiB where
/// all of them are as long as records may be.
pub const COPIES_PAGE_ROWS: usize = 500;

/// Records of a kind that are read one by one without a thought (some 100 µs each): below it nobody writes a snapshot.
pub const SNAPSHOT_RECORDS_MIN: usize = 1000;

/// Which part of a snapshot may be old before it is written again: a start reads that part one by one, and writing a
/// snapshot costs about what its records cost.
pub const SNAPSHOT_OLD_PART: usize = 8;

/// How long a snapshot may hold what is deleted.
pub const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Bytes of a snapshot that are written, read and decoded together: enough to keep a core busy for milliseconds.
pub const SNAPSHOT_PART_BYTES: usize = 1024 * 1024;

/// Parts of a snapshot that are decoded at the same time.
pub const SNAPSHOT_PARTS_AT_ONCE_MAX: usize = 4;

/// Bytes of a record's id: a grant's is the longest, of five ids and as many words.
pub const RECORD_ID_BYTES_MAX: usize = 4096;

/// How long a directory of users may take to connect, and for each answer.
pub const LDAP_TIMEOUT: Duration = Duration::from_secs(5);

/// Searches in one directory at the same time, and connections that are kept for them.
pub const LDAP_SEARCHES_MAX: usize = 8;

/// How old what was read of a directory of users may be. A reading costs its server every entry; log-ins ask it for
/// themselves.
pub const DIRECTORY_READ_INTERVAL: Duration = Duration::from_secs(600);

/// How long one that failed is not read again: it may keep the refresh, which brings revocations, for
/// [`LDAP_TIMEOUT`].
pub const DIRECTORY_REST: Duration = Duration::from_secs(30);

/// Entries of a directory: some 1 KB each in memory.
pub const LDAP_ENTRIES_MAX: usize = 500_000;

/// How long memcached may take, on a host that has much else to do. It answers in less than one.
pub const MEMCACHED_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a memcached server that failed is not asked.
pub const MEMCACHED_REST: Duration = Duration::from_secs(5);

/// Requests to one memcached server at the same time, and connections that are kept for them; behind it tokens are
/// opened without asking.
pub const MEMCACHED_REQUESTS_MAX: usize = 16;

/// Bytes of a value: what a token says is below 500.
pub const MEMCACHED_VALUE_BYTES_MAX: usize = 4096;

/// Connections to a SQL database: writes are few, and reads come from memory.
pub const SQL_CONNECTIONS_MAX: u32 = 8;

/// How long a write waits for a connection to the database; behind it the answer is 503.
pub const SQL_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long the database of a domain may take to be listed.
pub const DOMAIN_DATABASE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one that failed is not listed again. What is written to it is tried at once.
pub const DOMAIN_DATABASE_REST: Duration = Duration::from_secs(30);

/// Bytes of one record: blobs and descriptions with their JSON escapes fit.
pub const RECORD_BYTES_MAX: usize = 512 * 1024;

const _: () = assert!(RECORD_BYTES_MAX > 6 * BLOB_BYTES_MAX);
const _: () = assert!(KEYS_MAX >= 3);
