//! Patterns with `*` and `?`, and the variables in them.

/// Whether text is what the pattern says: `*` stands for any characters, `?` for one. Takes time in proportion to
/// both lengths at most.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    matches_tokens(&tokens(pattern, |_| None), text)
}

/// The same with `${name}`, which stands for what `variable` says and matches nothing where that is unknown.
/// `${*}`, `${?}` and `${$}` stand for themselves; `${name, 'text'}` says what counts where it is unknown.
pub(super) fn matches_with(pattern: &str, text: &str, variable: impl Fn(&str) -> Option<String>) -> bool {
    matches_tokens(&tokens(pattern, |name| substitute(name, &variable)), text)
}

/// A value with its variables; `None` where one is unknown.
pub(super) fn fill(value: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut filled = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((name, tail)) = behind.split_once('}') else { break };
        filled.push_str(before);
        filled.push_str(&substitute(name, &variable)?);
        rest = tail;
    }
    filled.push_str(rest);
    Some(filled)
}

fn substitute(name: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    if matches!(name, "*" | "?" | "$") {
        return Some(name.to_owned());
    }
    let (name, default) = match name.split_once(',') {
        Some((name, default)) => {
            (name.trim(), default.trim().strip_prefix('\'').and_then(|text| text.strip_suffix('\'')))
        }
        None => (name.trim(), None),
    };
    variable(name).or_else(|| default.map(str::to_owned))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Exactly(char),
    /// Matches nothing.
    Nothing,
}

fn tokens(pattern: &str, variable: impl Fn(&str) -> Option<String>) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(next) = rest.chars().next() {
        if let Some((name, tail)) = rest.strip_prefix("${").and_then(|rest| rest.split_once('}'))
            && let Some(value) = variable(name).map(Some).or_else(|| is_name(name).then_some(None))
        {
            match value {
                Some(value) => tokens.extend(value.chars().map(Token::Exactly)),
                None => tokens.push(Token::Nothing),
            }
            rest = tail;
            continue;
        }
        tokens.push(match next {
            '*' => Token::Any,
            '?' => Token::One,
            other => Token::Exactly(other),
        });
        rest = &rest[next.len_utf8()..];
    }
    tokens
}

fn is_name(name: &str) -> bool {
    name.contains(':')
}

fn matches_tokens(tokens: &[Token], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut token) = (0, 0);
    // Where the last `*` was, and what it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match tokens.get(token) {
            Some(Token::Any) => {
                star = Some((token, at));
                token += 1;
                continue;
            }
            Some(Token::One) => {
                (at, token) = (at + 1, token + 1);
                continue;
            }
            Some(Token::Exactly(wanted)) if *wanted == text[at] => {
                (at, token) = (at + 1, token + 1);
                continue;
            }
            _ => {}
        }
        let Some((of, end)) = star else { return false };
        star = Some((of, end + 1));
        (at, token) = (end + 1, of + 1);
    }
    tokens[token..].iter().all(|token| *token == Token::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*/b/*", "a/b/c", true),
            ("a*b*c", "aXbXbXc", true),
            ("ü?", "üß", true),
            ("${aws:username}", "${aws:username}", false),
        ] {
            assert_eq!(matches_with(pattern, text, |_| None), want, "{pattern} {text}");
        }
        assert!(!matches(&format!("{}b", "a*".repeat(50)), &"a".repeat(2_000)), "in no time to speak of");
    }

    #[test]
    fn variables_stand_for_what_they_are_and_never_for_patterns() {
        let variable = |name: &str| (name == "aws:username").then(|| "a*".to_owned());
        assert!(matches_with("home/${aws:username}/*", "home/a*/x", variable));
        assert!(!matches_with("home/${aws:username}/*", "home/ab/x", variable));
        assert!(!matches_with("${aws:userid}", "", variable));
        assert!(matches_with("${aws:userid, 'none'}", "none", variable));
        assert!(matches_with("a${*}", "a*", variable) && !matches_with("a${*}", "ab", variable));
        assert_eq!(fill("x-${aws:username}", variable).as_deref(), Some("x-a*"));
        assert_eq!(fill("x-${aws:userid}", variable), None);
        assert_eq!(fill("x-${", variable).as_deref(), Some("x-${"));
    }
}
