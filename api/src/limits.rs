//! Every limit of the REST habits, with its reason.

/// Bytes of a JSON request body. What OpenStack's services allow by default; beyond it the answer is 413.
pub const JSON_BODY_BYTES_MAX: usize = 114_688;

/// Rows of a list that one answer shows at most. A list that is longer is cut and says so, so that an
/// answer's memory is bounded (10,000 users are some 4 MB).
pub const LIST_ROWS_MAX: usize = 10_000;

/// Bytes of a token that are looked at. The longest that identity issues has some 300; a longer one is
/// refused before it is decoded.
pub const TOKEN_BYTES_MAX: usize = 2048;
