//! Temporary URLs: an address that its query signs opens one object (or all with a prefix) to whoever has it, until it
//! ends. The keys are the account's and the container's; a container's opens nothing outside it.

use std::net::IpAddr;

use futures::future::BoxFuture;
use http::header::{CONTENT_DISPOSITION, EXPIRES};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::{Generated, Incoming, Layer, Next, Origin, Pass};
use crate::body::{self, Body};
use crate::swift::SwiftDoor;
use crate::swift::call::Query;
use crate::swift::config::TempUrlConfig;
use crate::swift::fault::Fault;
use crate::swift::signature::Signature;
use crate::swift::target::Target;
use crate::swift::{metadata, reply};

/// What would make an upload a pointer to data that the signature does not open.
const POINTERS: [&str; 3] = ["x-object-manifest", "x-symlink-target", "x-copy-from"];

/// Methods whose signature is also good for HEAD.
const SHOWN: [&str; 4] = ["HEAD", "GET", "POST", "PUT"];

/// The middleware.
#[derive(Debug)]
pub(super) struct TempUrl {
    config: TempUrlConfig,
}

/// What a request's query says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::swift) struct Signed {
    signature: String,
    /// As the client writes it, and in seconds since 1970.
    pub(in crate::swift) expires: (String, u64),
    /// What the object's name begins with, where all such are open.
    pub(in crate::swift) prefix: Option<String>,
    ip_range: Option<String>,
    filename: Option<String>,
    /// Whether a browser is to show it.
    inline: bool,
}

impl Signed {
    /// Reads a query; `None` where it signs nothing.
    fn of(query: &Query) -> Option<Result<Self, Fault>> {
        let text = |name| query.get(name).map(str::to_owned);
        let (signature, expires) = (text("temp_url_sig"), text("temp_url_expires"));
        if signature.is_none() && expires.is_none() {
            return None;
        }
        let signed = || {
            let expires = expires.filter(|expires| !expires.is_empty())?;
            let second = second_of(&expires)?;
            Some(Self {
                signature: signature.filter(|signature| !signature.is_empty())?,
                expires: (expires, second),
                prefix: text("temp_url_prefix"),
                ip_range: text("temp_url_ip_range"),
                filename: text("filename").filter(|name| !name.is_empty()),
                inline: query.get("inline").is_some(),
            })
        };
        Some(signed().ok_or_else(invalid))
    }

    /// The query again: what else stood there is not signed, and means nothing.
    fn query(&self) -> String {
        let mut query = self.parameters(&[("temp_url_sig", &self.signature), ("temp_url_expires", &self.expires.0)]);
        if let Some(filename) = &self.filename {
            query.push_str(&format!("&filename={}", quoted(filename)));
        }
        query
    }

    /// What a link to another object with the prefix bears; nothing where only this one is open.
    pub(in crate::swift) fn link_query(&self) -> Option<String> {
        let prefix = self.prefix.as_ref()?;
        let ip_range = self.ip_range.as_ref().map(|range| format!("&temp_url_ip_range={}", quoted(range)));
        Some(format!(
            "temp_url_prefix={}&temp_url_expires={}&temp_url_sig={}{}{}",
            utf8_percent_encode(prefix, reply::QUOTED),
            quoted(&self.expires.0).replace("%2D", "-"),
            self.signature,
            ip_range.unwrap_or_default(),
            if self.inline { "&inline" } else { "" },
        ))
    }

    fn parameters(&self, items: &[(&str, &String)]) -> String {
        let mut query = items.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect::<Vec<_>>();
        query.extend(self.prefix.as_ref().map(|prefix| format!("temp_url_prefix={}", quoted(prefix))));
        query.extend(self.ip_range.as_ref().map(|range| format!("temp_url_ip_range={}", quoted(range))));
        query.extend(self.inline.then(|| "inline=".to_owned()));
        query.join("&")
    }
}

fn quoted(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The second that a client names: a number, or a date in ISO 8601.
fn second_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let date = || PrimitiveDateTime::parse(text, format).ok()?.assume_utc().unix_timestamp().try_into().ok();
    text.parse().ok().or_else(date)
}

impl TempUrl {
    pub(super) fn new(config: TempUrlConfig) -> Self {
        Self { config }
    }

    /// What the signature opens, or why it opens nothing.
    async fn open(
        &self,
        door: &SwiftDoor,
        method: &Method,
        path: &str,
        peer: Option<IpAddr>,
        signed: &Signed,
    ) -> Result<Pass, Fault> {
        let signature = Signature::parse(&signed.signature).ok_or_else(invalid)?;
        let is_offered = self.config.methods.iter().any(|offered| offered == method.as_str());
        let now = door.store.clock().wall().seconds();
        if !is_offered || !self.config.allowed_digests.contains(&signature.digest) || signed.expires.1 < now {
            return Err(invalid());
        }
        let is_read = [Method::GET, Method::HEAD].contains(method);
        let (account, container, object) = match Target::parse(path) {
            Ok(Target::Object(path)) if !path.object.trim_matches('/').is_empty() => {
                (path.account, path.container, path.object)
            }
            // The root of a static web site.
            Ok(Target::Container(account, container)) if is_read && signed.prefix.as_deref() == Some("") => {
                (account, container, String::new())
            }
            _ => return Err(invalid()),
        };
        if let Some(range) = &signed.ip_range {
            let peer = peer.ok_or_else(invalid)?;
            if !is_within(peer, range) {
                return Err(invalid());
            }
        }
        let path = match &signed.prefix {
            None => format!("/v1/{account}/{container}/{object}"),
            Some(prefix) if object.starts_with(prefix.as_str()) => format!("prefix:/v1/{account}/{container}/{prefix}"),
            Some(_) => return Err(invalid()),
        };
        let ip = signed.ip_range.as_ref().map(|range| format!("ip={range}\n")).unwrap_or_default();
        let methods = if method == Method::HEAD { &SHOWN[..] } else { &[method.as_str()] };
        let is_signed = |key: &str| {
            let fits =
                |method: &&str| signature.fits(key.as_bytes(), &format!("{ip}{method}\n{}\n{path}", signed.expires.1));
            methods.iter().any(fits)
        };
        let info = door.store.account_settings(&account).await?;
        if keys(info.as_ref().map(|info| &info.metadata), metadata::Kind::Account).any(is_signed) {
            return Ok(Pass { account, container: None });
        }
        let info = door.store.container_settings(&account, &container).await?;
        if keys(info.as_ref().map(|info| &info.metadata), metadata::Kind::Container).any(is_signed) {
            return Ok(Pass { account, container: Some(container) });
        }
        Err(invalid())
    }

    /// Takes away what the sender of a signed request may not say.
    fn clean_request(&self, method: &Method, headers: &mut HeaderMap) -> Result<(), Fault> {
        if ![Method::GET, Method::HEAD].contains(method)
            && let Some(pointer) = POINTERS.iter().find(|name| headers.contains_key(**name))
        {
            return Err(Fault::invalid(format!("The header {pointer:?} is not allowed in this tempurl")));
        }
        remove(headers, &self.config.incoming_remove_headers, &self.config.incoming_allow_headers);
        Ok(())
    }

    fn clean_response(&self, headers: &mut HeaderMap) {
        remove(headers, &self.config.outgoing_remove_headers, &self.config.outgoing_allow_headers);
    }
}

/// The keys that metadata hold.
pub(super) fn keys(metadata: Option<&anello_storage::Metadata>, kind: metadata::Kind) -> impl Iterator<Item = &str> {
    let names = ["temp-url-key", "temp-url-key-2"].map(|name| format!("{}{name}", kind.prefix()));
    let items = metadata.into_iter().flatten();
    items.filter(move |(name, value)| names.contains(name) && !value.is_empty()).map(|(_, value)| value.as_str())
}

/// Removes headers by names, of which some end in `*`, unless they are allowed.
fn remove(headers: &mut HeaderMap, removed: &[String], allowed: &[String]) {
    let fits = |name: &str, patterns: &[String]| {
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(&prefix.to_ascii_lowercase()),
            None => name.eq_ignore_ascii_case(pattern),
        })
    };
    let names: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in names.iter().filter(|name| fits(name.as_str(), removed) && !fits(name.as_str(), allowed)) {
        headers.remove(name);
    }
}

/// Whether an address lies in a network, `address` or `address/bits` without bits behind those.
fn is_within(peer: IpAddr, range: &str) -> bool {
    let (network, bits) = match range.split_once('/') {
        Some((network, bits)) => (network, Some(bits)),
        None => (range, None),
    };
    let Ok(network) = network.parse::<IpAddr>() else { return false };
    let (peer, network, length) = match (peer.to_canonical(), network) {
        (IpAddr::V4(peer), IpAddr::V4(network)) => (u128::from(peer.to_bits()), u128::from(network.to_bits()), 32),
        (IpAddr::V6(peer), IpAddr::V6(network)) => (peer.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let Ok(bits) = bits.map_or(Ok(length), str::parse::<u32>) else { return false };
    let Some(shift) = length.checked_sub(bits) else { return false };
    let top = |address: u128| address.checked_shr(shift).unwrap_or(0);
    let is_network = top(network).checked_shl(shift).unwrap_or(0) == network;
    is_network && top(peer) == top(network)
}

/// 401 with Swift's words.
fn invalid() -> Fault {
    Fault::because(StatusCode::UNAUTHORIZED, "401 Unauthorized: Temp URL invalid\n")
        .with("content-type", "text/html; charset=UTF-8")
        .with("www-authenticate", "Swift realm=\"unknown\"")
}

/// `Content-Disposition` with a name in both of its forms (RFC 6266).
fn disposition(kind: &str, name: &str) -> String {
    let plain = reply::quoted(name).replace("%20", " ");
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{}", reply::quoted(name))
}

impl Layer for TempUrl {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        let config = &self.config;
        let digests: Vec<_> = config.allowed_digests.iter().map(|digest| digest.name()).collect();
        let section = json!({
            "methods": config.methods,
            "allowed_digests": digests,
            "incoming_remove_headers": config.incoming_remove_headers,
            "incoming_allow_headers": config.incoming_allow_headers,
            "outgoing_remove_headers": config.outgoing_remove_headers,
            "outgoing_allow_headers": config.outgoing_allow_headers,
        });
        vec![("tempurl", section)]
    }

    fn call<'a>(&'a self, mut request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            let query = Query::parse(request.uri().query().unwrap_or("")).unwrap_or_default();
            let signed = match Signed::of(&query) {
                Some(signed) if request.uri().path().starts_with("/v1/") && request.method() != Method::OPTIONS => {
                    signed?
                }
                _ => return Ok(next.run(request).await),
            };
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let peer = Origin::of(&request).peer;
            let pass = self.open(next.door(), &method, &path, peer, &signed).await?;
            self.clean_request(&method, request.headers_mut())?;
            let uri = format!("{path}?{}", signed.query());
            *request.uri_mut() = uri.parse::<Uri>().map_err(|_| invalid())?;
            let origin = Origin { party: None, pass: Some(pass), ..Origin::of(&request) };
            request.extensions_mut().insert(origin);
            request.extensions_mut().insert(signed.clone());

            let mut response = next.run(request).await;
            self.clean_response(response.headers_mut());
            if ![Method::GET, Method::HEAD].contains(&method) || !response.status().is_success() {
                return Ok(response);
            }
            let is_site = response.extensions().get::<Generated>().is_some();
            if !is_site && matches!(Target::parse(&path), Ok(Target::Container(..))) {
                drop(response.map(|_| body::empty()));
                return Err(invalid());
            }
            let headers = response.headers_mut();
            let name = Target::parse(&path).ok().and_then(|target| match target {
                Target::Object(path) => path.object.trim_end_matches('/').rsplit('/').next().map(str::to_owned),
                _ => None,
            });
            let value = match (signed.inline || is_site, &signed.filename, headers.get(CONTENT_DISPOSITION)) {
                (true, Some(filename), _) => disposition("inline", filename),
                (true, None, _) => "inline".to_owned(),
                (false, Some(filename), _) => disposition("attachment", filename),
                (false, None, Some(_)) => String::new(),
                (false, None, None) => disposition("attachment", name.as_deref().unwrap_or("")),
            };
            if let Ok(value) = HeaderValue::from_str(&value)
                && !value.is_empty()
            {
                headers.insert(CONTENT_DISPOSITION, value);
            }
            if let Ok(value) = HeaderValue::from_str(&reply::http_date(signed.expires.1)) {
                headers.insert(EXPIRES, value);
            }
            Ok(response)
        })
    }
}

/// For the fuzzer: what is written of a query is read as the same.
#[cfg(feature = "fuzzing")]
pub(super) fn feed(query: &str) {
    if let Some(Ok(signed)) = Query::parse(query).ok().and_then(|query| Signed::of(&query)) {
        let again = Query::parse(&signed.query()).ok().and_then(|query| Signed::of(&query));
        assert!(again.is_some_and(|again| again.is_ok_and(|again| again == signed)), "{signed:?}");
        let _ = signed.ip_range.as_ref().map(|range| is_within(IpAddr::from([1, 2, 3, 4]), range));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_they_are_meant() {
        for (peer, range, want) in [
            ("1.2.3.4", "1.2.3.4", true),
            ("1.2.3.4", "1.2.3.0/24", true),
            ("::ffff:1.2.3.4", "1.2.3.0/24", true),
            ("1.2.4.4", "1.2.3.0/24", false),
            ("1.2.3.4", "1.2.3.4/24", false),
            ("1.2.3.4", "0.0.0.0/0", true),
            ("1.2.3.4", "1.2.3.0/33", false),
            ("1.2.3.4", "::/0", false),
            ("fe80::1", "fe80::/16", true),
            ("fe80::1", "::/0", true),
            ("1.2.3.4", "x", false),
            ("1.2.3.4", "1.2.3.0/-1", false),
        ] {
            assert_eq!(is_within(peer.parse().expect("an address"), range), want, "{peer} {range}");
        }
    }

    #[test]
    fn ends_are_seconds_or_dates() {
        assert_eq!(second_of("1400003600"), Some(1_400_003_600));
        assert_eq!(second_of("2014-05-13T17:53:20Z"), Some(1_400_003_600));
        for text in ["", "-5", "soon", "2014-05-13", "99999999999999999999999"] {
            assert_eq!(second_of(text), None, "{text}");
        }
    }
}
