//! Errors as S3 shows them: code, message, resource and request id, and never a status without a code.

use anello_base::Class;
use anello_storage::Error;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// An error with a code that `s3s` does not list.
pub(super) fn custom(code: &'static str, status: StatusCode, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

/// What a failure of the engine is to a client. `missing` is the code where the thing is not there.
pub(super) fn from_storage(error: Error, missing: S3ErrorCode) -> S3Error {
    if let Error::Sealed(_) = error {
        tracing::error!(%error, "a request needs a key that is not there");
        return S3Error::with_message(S3ErrorCode::InternalError, error.to_string());
    }
    let class = error.class();
    match class {
        Class::Internal | Class::Corrupt => tracing::error!(%error, "the engine failed a request"),
        Class::Busy | Class::Full => tracing::debug!(%error, "the engine could not serve a request"),
        _ => {}
    }
    match class {
        Class::Missing => missing.into(),
        Class::Precondition => S3ErrorCode::PreconditionFailed.into(),
        Class::Conflict => match error {
            Error::NotEmpty => S3ErrorCode::BucketNotEmpty.into(),
            _ => S3ErrorCode::OperationAborted.into(),
        },
        Class::TooLarge => S3Error::with_message(S3ErrorCode::EntityTooLarge, error.to_string()),
        Class::Invalid => S3Error::with_message(S3ErrorCode::InvalidArgument, error.to_string()),
        Class::Busy => S3ErrorCode::SlowDown.into(),
        Class::Full => custom(
            "InsufficientStorage",
            StatusCode::INSUFFICIENT_STORAGE,
            "There is no space left, or the storage accepts no writes now.",
        ),
        Class::Unsupported => S3Error::with_message(S3ErrorCode::NotImplemented, error.to_string()),
        Class::Unauthenticated | Class::Forbidden => S3ErrorCode::AccessDenied.into(),
        Class::Corrupt | Class::Internal => S3ErrorCode::InternalError.into(),
    }
}

/// Shorthand of [`from_storage`] where a missing thing is the bucket.
pub(super) trait OrNoBucket<T> {
    fn or_no_bucket(self) -> S3Result<T>;
}

impl<T> OrNoBucket<T> for anello_storage::Result<T> {
    fn or_no_bucket(self) -> S3Result<T> {
        self.map_err(|error| from_storage(error, S3ErrorCode::NoSuchBucket))
    }
}

/// The body is not what was signed.
pub(super) fn wrong_payload() -> S3Error {
    custom(
        "XAmzContentSHA256Mismatch",
        StatusCode::BAD_REQUEST,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    )
}

/// What is wrong with a body that stopped coming. `s3s` keeps its types of error to itself, so that
/// their names are all there is to go by.
pub(super) fn from_body(error: &(dyn std::error::Error + Send + Sync)) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        return wrong_payload();
    }
    if text.contains("SignatureMismatch") {
        return S3ErrorCode::SignatureDoesNotMatch.into();
    }
    if text.contains("AwsChunkedStreamError") && !text.contains("Incomplete") && !text.contains("Underlying") {
        return S3Error::with_message(
            S3ErrorCode::InvalidRequest,
            "The body is not valid in the aws-chunked encoding.",
        );
    }
    S3ErrorCode::IncompleteBody.into()
}

/// What a precondition that fails on reading answers with: 304 and 416 carry headers.
pub(super) fn with_headers(code: S3ErrorCode, headers: HeaderMap) -> S3Error {
    let mut error = S3Error::new(code);
    error.set_headers(headers);
    error
}

/// The sentence for a code that came without one.
pub(super) fn message(code: &str) -> &'static str {
    match code {
        "AccessDenied" => "Access Denied",
        "BadDigest" => "The Content-MD5 or checksum value that you specified did not match what the server received.",
        "BucketAlreadyExists" => "The requested bucket name is not available. Select a different name and try again.",
        "BucketAlreadyOwnedByYou" => {
            "Your previous request to create the named bucket succeeded and you already own it."
        }
        "BucketNotEmpty" => "The bucket you tried to delete is not empty.",
        "EntityTooLarge" => "Your proposed upload exceeds the maximum allowed object size.",
        "EntityTooSmall" => "Your proposed upload is smaller than the minimum allowed object size.",
        "IncompleteBody" => "You did not provide the number of bytes specified by the Content-Length HTTP header.",
        "InternalError" => "We encountered an internal error. Please try again.",
        "InvalidAccessKeyId" => "The access key ID you provided does not exist in our records.",
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidDigest" => "The Content-MD5 you specified is not valid.",
        "InvalidPart" => {
            "One or more of the specified parts could not be found. The part may not have been uploaded, or the \
             specified entity tag may not match the part's entity tag."
        }
        "InvalidPartOrder" => {
            "The list of parts was not in ascending order. The parts list must be specified in order by part number."
        }
        "InvalidRange" => "The requested range is not satisfiable",
        "InvalidStorageClass" => "The storage class you specified is not valid.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long.",
        "MalformedXML" => "The XML you provided was not well-formed or did not validate against our published schema.",
        "MaxMessageLengthExceeded" => "Your request was too large.",
        "MetadataTooLarge" => "Your metadata headers exceed the maximum allowed metadata size.",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "NoSuchBucket" => "The specified bucket does not exist.",
        "NoSuchKey" => "The specified key does not exist.",
        "NoSuchTagSet" => "There is no tag set associated with the bucket.",
        "NoSuchUpload" => {
            "The specified multipart upload does not exist. The upload ID might be invalid, or the multipart upload \
             might have been aborted or completed."
        }
        "NotImplemented" => "A header or operation you requested is not implemented.",
        "OperationAborted" => {
            "A conflicting conditional operation is currently in progress against this resource. Try again."
        }
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold",
        "RequestTimeTooSkewed" => "The difference between the request time and the server's time is too large.",
        "ServiceUnavailable" => "Service is unable to handle request.",
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing \
             method."
        }
        "SlowDown" => "Please reduce your request rate.",
        _ => "The request can't be served.",
    }
}

/// What every error names besides its code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) resource: &'a str,
    pub(super) request_id: &'a str,
    /// The region that there is.
    pub(super) region: &'a str,
}

/// On an answer that is an error: its code.
#[derive(Debug, Clone)]
pub(super) struct Code(pub(super) String);

/// Adds to an error whatever its body lacks; `body` is the XML that `s3s` made.
pub(super) fn complete(response: &mut Response<()>, body: &Bytes, context: Context<'_>) -> Bytes {
    let text = String::from_utf8_lossy(body);
    let between = |open: &str, close: &str| Some(text.split_once(open)?.1.split_once(close)?.0);
    let mut code = between("<Code>", "</Code>").unwrap_or("InternalError");
    let mut message = between("<Message>", "</Message>").map_or_else(|| escape(message(code)), str::to_owned);
    let mut region = String::new();
    // s3cmd signs for a region `US` until this error names the right one.
    if code == "InvalidRequest" && message.starts_with("invalid credential region") {
        let right = escape(context.region);
        code = "AuthorizationHeaderMalformed";
        message = format!("The authorization header is malformed; the region is wrong; expecting '{right}'");
        region = format!("<Region>{right}</Region>");
    }
    response.extensions_mut().insert(Code(code.to_owned()));
    let (resource, request_id) = (escape(context.resource), context.request_id);
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{region}\
         <Resource>{resource}</Resource><RequestId>{request_id}</RequestId></Error>"
    );
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(xml.len()));
    xml.into()
}

fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}
