//! Names that an operator does not want: with certain characters, too long, or fitting an expression.

use futures::future::BoxFuture;
use http::{Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Incoming, Layer, Next};
use crate::body::Body;
use crate::swift::config::{NameCheckConfig, Regexp};
use crate::swift::fault::Fault;

/// The middleware.
#[derive(Debug)]
pub(super) struct NameCheck {
    config: NameCheckConfig,
}

impl NameCheck {
    pub(super) fn new(config: NameCheckConfig) -> Self {
        Self { config }
    }

    /// What is wrong with a path.
    fn complaint(&self, path: &str) -> Option<String> {
        let NameCheckConfig { forbidden_chars, maximum_length, forbidden_regexp } = &self.config;
        let what = "Object/Container/Account name";
        if path.contains(|letter| forbidden_chars.contains(letter)) {
            return Some(format!("{what} contains forbidden chars from {forbidden_chars}"));
        }
        if path.len() > *maximum_length {
            return Some(format!("{what} longer than the allowed maximum {maximum_length}"));
        }
        // An expression that takes too long to tell is taken to fit.
        let fits = forbidden_regexp.as_ref().is_some_and(|regexp| regexp.is_match(path));
        fits.then(|| {
            let regexp = forbidden_regexp.as_ref().map_or("", |regexp| regexp.text());
            format!("{what} contains a forbidden substring from regular expression {regexp}")
        })
    }
}

impl Layer for NameCheck {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        let NameCheckConfig { forbidden_chars, maximum_length, forbidden_regexp } = &self.config;
        let section = json!({
            "forbidden_chars": forbidden_chars,
            "maximum_length": maximum_length,
            "forbidden_regexp": forbidden_regexp.as_ref().map(Regexp::text),
        });
        vec![("name_check", section)]
    }

    fn call<'a>(&'a self, request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
            if let Some(complaint) = self.complaint(&path) {
                return Err(Fault::invalid(complaint));
            }
            Ok(next.run(request).await)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_for_their_letters_length_and_form() {
        let regexp = Regexp::try_from(String::from(r"/\./|/\.\./|/\.$|/\.\.$")).expect("an expression");
        let config =
            NameCheckConfig { forbidden_chars: "'\"`<>".into(), maximum_length: 20, forbidden_regexp: Some(regexp) };
        let layer = NameCheck::new(config);
        for (path, is_fine) in [
            ("/v1/a/c/o", true),
            ("/v1/a/c/o<", false),
            ("/v1/a/c/../o", false),
            ("/v1/a/c/..o", true),
            ("/v1/a/c/aaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(layer.complaint(path).is_none(), is_fine, "{path}");
        }
    }
}
