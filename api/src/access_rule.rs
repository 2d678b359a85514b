//! Access rules of application credentials: the only requests that a token may make, where it may not make all.
//! Every room asks [`crate::identity::Caller::admits`] about each request.

/// One kind of request to one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// Type of the service, as in the catalog: `object-store`.
    pub service: String,
    /// Method of the request.
    pub method: String,
    /// Path of the request: `*` and `{name}` stand for one part of it, `**` for any number of them.
    pub path: String,
}

impl AccessRule {
    /// Whether the rule lets this request pass. The path is the one that the client used.
    pub fn admits(&self, service: &str, method: &str, path: &str) -> bool {
        self.service == service && self.method == method && matches(&pieces(&self.path), path)
    }
}

/// What a pattern is made of.
enum Piece<'a> {
    Literal(&'a str),
    /// Letters other than `/`, at least one.
    Part,
    /// Any letters.
    Rest,
}

fn pieces(mut pattern: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while !pattern.is_empty() {
        let special = |at: usize| match pattern.get(at..)?.as_bytes() {
            [b'*', b'*', ..] => Some((Piece::Rest, 2)),
            [b'*', ..] => Some((Piece::Part, 1)),
            [b'{', rest @ ..] => rest.iter().position(|byte| *byte == b'}').map(|end| (Piece::Part, end + 2)),
            _ => None,
        };
        let start = (0..pattern.len()).find(|at| special(*at).is_some()).unwrap_or(pattern.len());
        if start > 0 {
            pieces.push(Piece::Literal(&pattern[..start]));
        }
        let length = special(start).map_or(0, |(piece, length)| {
            pieces.push(piece);
            length
        });
        pattern = &pattern[start + length..];
    }
    pieces
}

/// Whether the pieces make up the whole path. Costs pieces times letters, whatever the pattern: the ends that the
/// pieces so far can reach are kept as a set.
fn matches(pieces: &[Piece<'_>], path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut ends = vec![false; bytes.len() + 1];
    ends[0] = true;
    for piece in pieces {
        let mut next = vec![false; bytes.len() + 1];
        let mut open = false;
        for at in 0..=bytes.len() {
            match piece {
                Piece::Literal(text) => {
                    if ends[at] && bytes[at..].starts_with(text.as_bytes()) {
                        next[at + text.len()] = true;
                    }
                }
                Piece::Rest => {
                    open |= ends[at];
                    next[at] = open;
                }
                Piece::Part => {
                    // Open where a part that began earlier may go on to here.
                    open = at > 0 && bytes[at - 1] != b'/' && (open || ends[at - 1]);
                    next[at] = open;
                }
            }
        }
        ends = next;
    }
    ends[bytes.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_admits_what_its_pattern_covers_and_nothing_else() {
        for (pattern, path, want) in [
            ("/v1/AUTH_x", "/v1/AUTH_x", true),
            ("/v1/AUTH_x", "/v1/AUTH_x/c", false),
            ("/v1/*/c", "/v1/AUTH_x/c", true),
            ("/v1/*/c", "/v1/AUTH_x/y/c", false),
            ("/v1/*/c", "/v1//c", false),
            ("/v1/{account}/c", "/v1/AUTH_x/c", true),
            ("/v1/{account}/c", "/v1/a/b/c", false),
            ("/v1/**", "/v1/a/b/c", true),
            ("/v1/**", "/v1/", true),
            ("**/c", "/v1/a/c", true),
            ("/v1/**/c", "/v1/a/b/d", false),
            ("/v1/a*d/**", "/v1/abcd/x", true),
            ("*", "/", false),
            ("", "", true),
            ("/v1/{open", "/v1/{open", true),
        ] {
            let rule = AccessRule { service: "s".into(), method: "GET".into(), path: pattern.into() };
            assert_eq!(rule.admits("s", "GET", path), want, "{pattern} {path}");
            assert!(!rule.admits("s", "PUT", path) && !rule.admits("other", "GET", path));
        }
    }
}
