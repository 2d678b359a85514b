//! Uploads by browser forms (POST Object). The fields come first and are held to a limit, to the signature and to the
//! policy before a byte of the file is read; the file then streams like any upload.

mod parts;
mod policy;

use std::sync::Arc;

use anello_api::identity::Caller;
use anello_storage::Precondition;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::try_unfold;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyDataStream;
use s3s::{S3Error, S3ErrorCode, S3Result, dto, s3_error, xml};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use super::front::Front;
use super::lane;
use super::limits::{KEY_BYTES_MAX, PUT_BYTES_MAX};
use super::metadata::Described;
use super::policy::{Asking, Connection};
use super::put::{self, PutRequest, Stored};
use super::receive::Promise;
use super::{acl, lifecycle, lock, metadata, tagging, version};
use crate::body::{self, Body};
use parts::Form;
pub(super) use parts::boundary;
use policy::FormPolicy;

/// A form's fields, by names in lower case.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn get(&self, wanted: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    fn own(&self, wanted: &str) -> Option<String> {
        self.get(wanted).map(str::to_owned)
    }

    /// Those that a header could say as well.
    fn headers(&self) -> HeaderMap {
        let header = |(name, value): &(String, String)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
        };
        self.0.iter().filter_map(header).collect()
    }
}

/// Takes a form for a bucket.
pub(super) async fn serve<B>(front: &Front, request: Request<B>, bucket: &str) -> S3Result<Response<Body>>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (head, body) = request.into_parts();
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = content_type.and_then(boundary).ok_or(S3ErrorCode::MalformedPOSTRequest)?;
    let body = std::pin::pin!(BodyDataStream::new(body));
    let form = Form::read(body, &boundary).await?;
    let Form { fields, file_name, file } = form;
    // The policy is about what the fields say in the end.
    let name = file_name.as_deref().unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default();
    let expanded = fields.into_iter().map(|(field, value)| (field, value.replace("${filename}", name)));
    let fields = Fields(expanded.collect());
    let (caller, policy) = signer(front, &fields).await?;
    if let Some(policy) = &policy {
        policy.check(now(front), &fields.0, bucket)?;
    }
    let key = key(&fields)?;
    let headers = fields.headers();
    let connection = head.extensions.get::<Connection>().copied().unwrap_or_default();
    let asking = Asking { caller, connection, headers: &headers, query: "" };
    let granted = super::policy::authorize(front, asking, "PutObject", Some(bucket), Some(&key)).await?;
    let request = put_request(&fields, &headers, policy.as_ref())?;
    if let Some(text) = &request.described.tagging {
        granted.check_again("s3:PutObject", bucket, &key, &tagging::facts(&tagging::parse_header(text)?))?;
    }
    let class = fields.own("x-amz-storage-class").map(dto::StorageClass::from);
    front.check_class(&granted, bucket, class.as_ref()).await?;
    let chunks = try_unfold(file, |mut file| async move {
        let chunk: Result<_, s3s::StdError> = file.next().await;
        chunk.map(|chunk| chunk.map(|chunk| (chunk, file)))
    });
    let stored = put::store(front, &granted, bucket, &key, request, std::pin::pin!(chunks), None).await?;
    answer(&fields, bucket, &key, &stored)
}

fn now(front: &Front) -> OffsetDateTime {
    front.store.clock().wall().system_time().into()
}

/// The object's name.
fn key(fields: &Fields) -> S3Result<String> {
    let given = fields.get("key").ok_or_else(|| {
        s3_error!(
            InvalidArgument,
            "Bucket POST must contain a field named 'key'. If it is specified, please check the order of the fields."
        )
    })?;
    let key = given.to_owned();
    if key.is_empty() || key.contains('\0') {
        return Err(s3_error!(InvalidArgument, "User key must have a length greater than 0."));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(S3ErrorCode::KeyTooLongError.into());
    }
    Ok(key)
}

/// Who signed the form's policy, and what it says; nobody where there is none.
async fn signer(front: &Front, fields: &Fields) -> S3Result<(Option<Arc<Caller>>, Option<FormPolicy>)> {
    let missing = |name: &str| s3_error!(InvalidArgument, "Bucket POST must contain a field named '{name}'.");
    let Some(encoded) = fields.get("policy") else {
        return match fields.get("signature").or(fields.get("x-amz-signature")) {
            None => Ok((None, None)),
            Some(_) => Err(missing("policy")),
        };
    };
    let (access, is_signed) = if let Some(signature) = fields.get("x-amz-signature") {
        if fields.get("x-amz-algorithm") != Some("AWS4-HMAC-SHA256") {
            return Err(s3_error!(InvalidArgument, "Only AWS4-HMAC-SHA256 is supported"));
        }
        let credential = fields.get("x-amz-credential").ok_or_else(|| missing("X-Amz-Credential"))?;
        let stamp = fields.get("x-amz-date").ok_or_else(|| missing("X-Amz-Date"))?;
        let parts: Vec<_> = credential.rsplitn(5, '/').collect();
        let &["aws4_request", "s3", region, date, access] = parts.as_slice() else {
            return Err(s3_error!(InvalidArgument, "The X-Amz-Credential field is malformed."));
        };
        if stamp.get(..8) != Some(date) {
            return Err(s3_error!(InvalidArgument, "The dates of X-Amz-Credential and X-Amz-Date differ."));
        }
        let secret = front.signing_key(access).await?.secret;
        let mac = lane::sign(&secret, date, region, encoded.as_bytes());
        (access, bool::from(hex::encode(mac).as_bytes().ct_eq(signature.as_bytes())))
    } else {
        let access = fields.get("awsaccesskeyid").ok_or_else(|| missing("AWSAccessKeyId"))?;
        let signature = fields.get("signature").ok_or_else(|| missing("signature"))?;
        let secret = front.signing_key(access).await?.secret;
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("an HMAC takes a key of any length");
        mac.update(encoded.as_bytes());
        let wanted = STANDARD.encode(mac.finalize().into_bytes());
        (access, bool::from(wanted.as_bytes().ct_eq(signature.as_bytes())))
    };
    if !is_signed {
        return Err(S3ErrorCode::SignatureDoesNotMatch.into());
    }
    let caller = front.signing_key(access).await?.caller;
    Ok((Some(caller), Some(FormPolicy::parse(encoded)?)))
}

/// What the fields say of the object. What is not offered is refused.
fn put_request(fields: &Fields, headers: &HeaderMap, policy: Option<&FormPolicy>) -> S3Result<PutRequest> {
    let acl = acl::Given { canned: fields.own("acl"), ..acl::Given::default() };
    let encryption = fields.own("x-amz-server-side-encryption").map(dto::ServerSideEncryption::from);
    let redirect = fields.own("x-amz-website-redirect-location");
    put::Extras { encryption: encryption.as_ref() }.check()?;
    let of_customer = fields.own("x-amz-server-side-encryption-customer-algorithm");
    super::get::refuse_customer_keys(&[&of_customer])?;
    let user =
        fields.0.iter().filter_map(|(name, value)| Some((name.strip_prefix("x-amz-meta-")?.to_owned(), value.clone())));
    let expires = fields.get("expires").map(|text| {
        let time = httpdate::parse_http_date(text);
        time.map(dto::Timestamp::from).map_err(|_| s3_error!(InvalidArgument, "The field 'Expires' is no date."))
    });
    let described = Described {
        content_type: fields.own("content-type"),
        cache_control: fields.own("cache-control"),
        content_disposition: fields.own("content-disposition"),
        content_encoding: fields.own("content-encoding"),
        content_language: fields.own("content-language"),
        expires: expires.transpose()?,
        user: Some(user.collect()),
        tagging: fields.get("tagging").map(tags).transpose()?,
    };
    let until = fields.get("x-amz-object-lock-retain-until-date").map(|text| {
        dto::Timestamp::parse(dto::TimestampFormat::DateTime, text)
            .map_err(|_| S3Error::from(S3ErrorCode::InvalidArgument))
    });
    let lock = lock::Wanted {
        mode: fields.own("x-amz-object-lock-mode").map(Into::into),
        until: until.transpose()?,
        hold: fields.own("x-amz-object-lock-legal-hold").map(Into::into),
    };
    let (least, most) = policy.and_then(FormPolicy::lengths).unwrap_or((0, PUT_BYTES_MAX));
    let promise = Promise::between(least, most.min(PUT_BYTES_MAX), headers)?;
    Ok(PutRequest { described, condition: Precondition::default(), promise, lock, acl, redirect })
}

/// Tags in XML, in the form of `x-amz-tagging`.
fn tags(document: &str) -> S3Result<String> {
    let mut reader = xml::Deserializer::new(document.as_bytes());
    let read: Result<dto::Tagging, _> = reader.named_element("Tagging", xml::Deserializer::content);
    tagging::to_header(read.map_err(|_| S3ErrorCode::MalformedXML)?)
}

fn answer(fields: &Fields, bucket: &str, key: &str, stored: &Stored) -> S3Result<Response<Body>> {
    let mut headers = HeaderMap::new();
    let etag = format!("\"{}\"", stored.etag);
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let location = format!("/{}/{}", encode(bucket), encode(key).replace("%2F", "/"));
    metadata::put(&mut headers, header::ETAG, &etag)?;
    metadata::put(&mut headers, header::LOCATION, &location)?;
    version::show_made(stored.stamp.as_ref(), &mut headers)?;
    lifecycle::put_header(stored.expiration.as_deref(), &mut headers)?;
    let redirect = fields.get("success_action_redirect").or(fields.get("redirect"));
    let redirect = redirect.filter(|url| url.starts_with("http://") || url.starts_with("https://"));
    if let Some(url) = redirect.filter(|url| url.parse::<http::Uri>().is_ok()) {
        let mark = if url.contains('?') { '&' } else { '?' };
        let target = format!("{url}{mark}bucket={}&key={}&etag={}", plain(bucket), plain(key), encode(&etag));
        metadata::put(&mut headers, header::LOCATION, &target)?;
        return Ok(respond(StatusCode::SEE_OTHER, headers, Bytes::new()));
    }
    match fields.get("success_action_status") {
        Some("200") => Ok(respond(StatusCode::OK, headers, Bytes::new())),
        Some("201") => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            let escape = |text| quick_xml::escape::escape(text).into_owned();
            let document = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location><Bucket>{}</Bucket>\
                 <Key>{}</Key><ETag>{}</ETag></PostResponse>",
                escape(location.as_str()),
                escape(bucket),
                escape(key),
                escape(etag.as_str())
            );
            Ok(respond(StatusCode::CREATED, headers, document.into()))
        }
        _ => Ok(respond(StatusCode::NO_CONTENT, headers, Bytes::new())),
    }
}

/// As a query has it; what needs no escape has none.
fn plain(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, super::listing::PLAIN).to_string()
}

fn respond(status: StatusCode, headers: HeaderMap, document: Bytes) -> Response<Body> {
    let mut response = Response::new(if document.is_empty() { body::empty() } else { body::full(document) });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A form's body, its file read to the end; and its policy.
#[cfg(feature = "fuzzing")]
pub(super) fn read_all(bytes: &[u8], boundary: &str) {
    let pieces =
        futures::stream::iter(bytes.chunks(7).map(|piece| Ok::<_, s3s::StdError>(Bytes::copy_from_slice(piece))));
    futures::executor::block_on(async {
        let Ok(mut form) = Form::read(pieces, boundary).await else { return };
        if let Some((_, value)) = form.fields.first()
            && let Ok(policy) = FormPolicy::parse(&STANDARD.encode(value))
        {
            let _ = policy.check(OffsetDateTime::UNIX_EPOCH, &form.fields, "b");
        }
        let mut length = 0;
        while let Ok(Some(chunk)) = form.file.next().await {
            length += chunk.len();
        }
        assert!(length < bytes.len(), "more than came");
    });
}
