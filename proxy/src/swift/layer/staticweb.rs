//! Static web sites: a container whose metadata say so is shown to visitors as a site: with an index file for each
//! directory, listings, and pages for errors. Visitors are those without a token, and whoever asks for it
//! (`X-Web-Mode`). What a visitor may see is what the container's read list opens to him.

mod page;

use anello_storage::Metadata;
use futures::future::BoxFuture;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};

use super::tempurl::Signed;
use super::{Generated, Incoming, Layer, Next, Origin, subrequest};
use crate::body::{self, Body};
use crate::swift::call::{Call, is_true};
use crate::swift::config::StaticWebConfig;
use crate::swift::fault::Fault;
use crate::swift::limits::LISTING_BYTES_MAX;
use crate::swift::policy::Rule;
use crate::swift::target::Target;
use crate::swift::{metadata, reply};

/// What marks a directory where the container does not say.
const DIRECTORY: &str = "application/directory";

/// The middleware.
#[derive(Debug)]
pub(super) struct StaticWeb {
    config: StaticWebConfig,
}

/// What a container says of its site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Site {
    index: String,
    error: String,
    listings: String,
    css: String,
    label: String,
    directory_type: String,
}

impl Site {
    fn of(metadata: &Metadata) -> Self {
        let item = |name: &str| {
            let value = metadata::value(metadata, &format!("x-container-meta-web-{name}"));
            value.unwrap_or("").trim().to_owned()
        };
        Self {
            index: item("index"),
            error: item("error"),
            listings: item("listings"),
            css: item("listings-css"),
            label: item("listings-label"),
            directory_type: item("directory-type"),
        }
    }

    fn is_none(&self) -> bool {
        self.index.is_empty() && self.listings.is_empty()
    }
}

/// A visitor's request, as often as it has to be asked in some form.
struct Visit<'a> {
    web: &'a StaticWeb,
    next: Next,
    parts: Parts,
    /// `/v1/account/container`, percent-encoded.
    root: String,
    /// The container's name.
    container: (String, String),
    /// The object that is asked for; empty at the root.
    object: String,
    site: Site,
}

impl StaticWeb {
    pub(super) fn new(config: StaticWebConfig) -> Self {
        Self { config }
    }

    /// Whether a request is a visitor's.
    fn is_visit(request: &Request<Incoming>) -> bool {
        let origin = Origin::of(request);
        let wants = request.headers().get("x-web-mode").and_then(|value| value.to_str().ok()).is_some_and(is_true);
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        is_read && (origin.party.is_none() || wants)
    }
}

impl Layer for StaticWeb {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        vec![("staticweb", json!({}))]
    }

    fn call<'a>(&'a self, request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            let target = Target::parse(request.uri().path()).ok().filter(|_| Self::is_visit(&request));
            let (container, object) = match target {
                Some(Target::Container(account, container)) => ((account, container), String::new()),
                Some(Target::Object(path)) => ((path.account, path.container), path.object),
                _ => return Ok(next.run(request).await),
            };
            let (parts, _) = request.into_parts();
            let root = reply::quoted(&format!("/v1/{}/{}", container.0, container.1));
            let mut visit = Visit { web: self, next, parts, root, container, object, site: Site::default() };
            if visit.object.is_empty() { visit.container().await } else { visit.object().await }
        })
    }
}

impl Visit<'_> {
    /// The request as it came.
    async fn as_it_came(&self) -> Response<Body> {
        self.next.clone().run(Request::from_parts(self.parts.clone(), super::whole(""))).await
    }

    /// The same request for another object.
    async fn instead(&self, object: &str) -> Response<Body> {
        let mut parts = self.parts.clone();
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        match format!("{}/{}{query}", self.root, reply::quoted(object)).parse() {
            Ok(uri) => parts.uri = uri,
            Err(_) => return Fault::missing().into_response(),
        }
        self.next.clone().run(Request::from_parts(parts, super::whole(""))).await
    }

    /// Looks at what the container says.
    async fn look(&mut self) -> Result<(), Fault> {
        let (account, container) = &self.container;
        let info = self.next.door().store.container_settings(account, container).await?;
        self.site = info.map(|info| Site::of(&info.metadata)).unwrap_or_default();
        Ok(())
    }

    fn has_slash(&self) -> bool {
        self.parts.uri.path().ends_with('/')
    }

    /// The container's root.
    async fn container(&mut self) -> Result<Response<Body>, Fault> {
        self.look().await?;
        let call = Call::read(self.parts.clone())?;
        let (account, container) = &self.container;
        if let Err(denied) = self.next.door().authorize(&call, Rule::ContainerRead, account, Some(container)).await {
            return Ok(self.failed(denied.into_response()).await);
        }
        if self.site.is_none() {
            let wants = call.is_set("x-web-mode");
            return if wants { Err(Fault::missing()) } else { Ok(self.as_it_came().await) };
        }
        if !self.has_slash() {
            return Ok(self.with_slash());
        }
        if self.site.index.is_empty() {
            return self.listing("").await;
        }
        let response = self.instead(&self.site.index).await;
        match response.status() {
            StatusCode::NOT_FOUND => self.listing("").await,
            status if is_good(status) => Ok(response),
            _ => Ok(self.failed(response).await),
        }
    }

    /// A file of the site, or a directory.
    async fn object(&mut self) -> Result<Response<Body>, Fault> {
        let response = self.as_it_came().await;
        let status = response.status();
        if !is_good(status) && status != StatusCode::NOT_FOUND {
            return Ok(response);
        }
        // Most visits are to files: only what could be a directory costs a look at the container.
        if is_good(status) && length(&response).is_none_or(|length| length > 1) {
            return Ok(response);
        }
        self.look().await?;
        if is_good(status) && !self.is_directory(&response) {
            return Ok(response);
        }
        if self.site.is_none() {
            return Ok(if is_good(status) { self.failed(Fault::missing().into_response()).await } else { response });
        }
        if !self.site.index.is_empty() {
            let gap = if self.has_slash() { "" } else { "/" };
            let index = self.instead(&format!("{}{gap}{}", self.object, self.site.index)).await;
            match index.status() {
                StatusCode::NOT_FOUND => {}
                status if !is_good(status) => return Ok(self.failed(index).await),
                _ if !self.has_slash() => return Ok(self.with_slash()),
                _ => return Ok(index),
            }
        }
        if self.has_slash() {
            return self.listing(&self.object).await;
        }
        // A directory without its slash, if there is anything in it.
        match self.rows(&format!("{}/", self.object), Some(1)).await? {
            Ok(rows) if !rows.is_empty() => Ok(self.with_slash()),
            _ => Ok(self.failed(Fault::missing().into_response()).await),
        }
    }

    fn is_directory(&self, response: &Response<Body>) -> bool {
        let wanted = if self.site.directory_type.is_empty() { DIRECTORY } else { &self.site.directory_type };
        response.headers().get(CONTENT_TYPE).is_some_and(|found| found.as_bytes() == wanted.as_bytes())
    }

    /// What is in a directory; the answer instead, where it may not be listed.
    async fn rows(&self, prefix: &str, limit: Option<usize>) -> Result<Result<Vec<Value>, Response<Body>>, Fault> {
        let limit = limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
        let prefix = reply::quoted(prefix).replace('/', "%2F");
        let uri = format!("{}?format=json&delimiter=%2F&prefix={prefix}{limit}", self.root);
        let response = self.next.clone().run(subrequest(&self.parts, Method::GET, &uri)?).await;
        if !response.status().is_success() {
            return Ok(Err(response));
        }
        let text = Limited::new(response.into_body(), LISTING_BYTES_MAX).collect().await;
        let text = text.map_err(|_| Fault::status(StatusCode::INTERNAL_SERVER_ERROR))?.to_bytes();
        Ok(Ok(serde_json::from_slice(&text).unwrap_or_default()))
    }

    /// The page that lists a directory.
    async fn listing(&self, prefix: &str) -> Result<Response<Body>, Fault> {
        let site = &self.site;
        let path = format!("/v1/{}/{}/{}", self.container.0, self.container.1, self.object);
        let label = match site.label.as_str() {
            "" => path,
            label => format!("{label}/{}", self.object),
        };
        if !is_true(&site.listings) {
            let text = page::disabled(&label, &site.index, &css(site, prefix));
            let mut response = reply::with_body(StatusCode::NOT_FOUND, "text/html; charset=UTF-8", text);
            if self.parts.method == Method::HEAD {
                response = response.map(|_| body::empty());
            }
            return Ok(self.failed(response).await);
        }
        let rows = match self.rows(prefix, None).await? {
            Ok(rows) => rows,
            Err(response) => return Ok(self.failed(response).await),
        };
        if rows.is_empty() && !prefix.is_empty() {
            return Ok(self.failed(Fault::missing().into_response()).await);
        }
        let signed = self.parts.extensions.get::<Signed>();
        let top = signed.and_then(|signed| signed.prefix.as_deref()).unwrap_or("");
        let query = signed.and_then(Signed::link_query);
        let has_parent = prefix.len() > top.len();
        let text = page::listing(&label, &css(site, prefix), prefix, has_parent, query.as_deref(), &rows);
        let mut response = reply::with_body(StatusCode::OK, "text/html; charset=UTF-8", text);
        response.extensions_mut().insert(Generated);
        Ok(response)
    }

    /// The site's own page for an error, where it has one for this.
    async fn failed(&self, response: Response<Body>) -> Response<Body> {
        if self.site.error.is_empty() {
            return response;
        }
        let status = response.status();
        let uri = format!("{}/{}", self.root, reply::quoted(&format!("{}{}", status.as_u16(), self.site.error)));
        let Ok(request) = subrequest(&self.parts, Method::GET, &uri) else { return response };
        let mut page = self.next.clone().run(request).await;
        if !page.status().is_success() {
            return response;
        }
        *page.status_mut() = status;
        page
    }

    /// 301 to the same place with a slash behind it: links in a directory's pages start from there.
    fn with_slash(&self) -> Response<Body> {
        // The client's own address, where another layer has changed it.
        let uri = self.parts.extensions.get::<super::ClientPath>().map_or(self.parts.uri.path(), |path| &path.0);
        let host = self.parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let scheme = if self.next.door().endpoint.is_tls { "https" } else { "http" };
        let location = match (&self.web.config.url_base, host) {
            (Some(base), _) => format!("{}{uri}/", base.trim_end_matches('/')),
            (None, Some(host)) => format!("{scheme}://{host}{uri}/"),
            (None, None) => format!("{uri}/"),
        };
        let mut response = reply::bare(StatusCode::MOVED_PERMANENTLY);
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}

fn is_good(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

fn length(response: &Response<Body>) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Where a directory's page finds the site's style sheet.
fn css(site: &Site, prefix: &str) -> String {
    let is_absolute = ["/", "http://", "https://"].iter().any(|start| site.css.starts_with(start));
    match (site.css.is_empty(), is_absolute) {
        (true, _) => String::new(),
        (false, true) => reply::quoted(&site.css).replace("%3A", ":"),
        (false, false) => format!("{}{}", "../".repeat(prefix.matches('/').count()), reply::quoted(&site.css)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_sheet_is_found_from_every_depth() {
        let check = |css_item: &str, prefix: &str, want: &str| {
            let site = Site { css: css_item.into(), ..Site::default() };
            assert_eq!(css(&site, prefix), want, "{css_item} {prefix}");
        };
        check("", "a/", "");
        check("list.css", "", "list.css");
        check("list.css", "a/b/", "../../list.css");
        check("/v1/a/c/list.css", "a/", "/v1/a/c/list.css");
        check("https://example.com/a b.css", "a/", "https://example.com/a%20b.css");
    }
}
