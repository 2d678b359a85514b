//! What is answered about settings of buckets that can't be set here: what S3 answers where they never were. Setting one
//! is refused as not implemented.

use http::StatusCode;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, dto, s3_error};

use super::error::custom;
use super::front::Front;
use super::policy::Granted;

/// Looks for a setting that is never there, and deletes it.
macro_rules! absent {
    ($($get:ident($get_input:ident) -> $get_output:ident, $delete:ident($delete_input:ident) -> $delete_output:ident:
        $code:literal, $message:literal;)*) => {
        $(
            pub(super) async fn $get(
                _: &Front,
                req: S3Request<dto::$get_input>,
            ) -> S3Result<S3Response<dto::$get_output>> {
                Granted::of(&req)?.container()?;
                Err(custom($code, StatusCode::NOT_FOUND, $message))
            }

            pub(super) async fn $delete(
                _: &Front,
                req: S3Request<dto::$delete_input>,
            ) -> S3Result<S3Response<dto::$delete_output>> {
                Granted::of(&req)?.container()?;
                Ok(S3Response::new(dto::$delete_output::default()))
            }
        )*
    };
}

absent! {
    get_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput,
        delete_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput:
        "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found";
    get_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput,
        delete_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput:
        "ReplicationConfigurationNotFoundError", "The replication configuration was not found";
}

/// Answers with a setting that is never changed.
macro_rules! fixed {
    ($($get:ident($input:ident) -> $output:ident = $value:expr;)*) => {
        $(pub(super) async fn $get(_: &Front, req: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
            Granted::of(&req)?.container()?;
            Ok(S3Response::new($value))
        })*
    };
}

fixed! {
    get_acceleration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput =
        dto::GetBucketAccelerateConfigurationOutput::default();
    get_notification(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput =
        dto::GetBucketNotificationConfigurationOutput::default();
    get_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = dto::GetBucketRequestPaymentOutput {
        payer: Some(dto::Payer::from_static(dto::Payer::BUCKET_OWNER)),
    };
}

/// PutBucketRequestPayment: nobody is billed for requests, so none but the owner could pay.
pub(super) async fn put_payment(
    _: &Front,
    req: S3Request<dto::PutBucketRequestPaymentInput>,
) -> S3Result<S3Response<dto::PutBucketRequestPaymentOutput>> {
    Granted::of(&req)?.container()?;
    match req.input.request_payment_configuration.payer.as_str() {
        dto::Payer::BUCKET_OWNER => Ok(S3Response::new(dto::PutBucketRequestPaymentOutput::default())),
        dto::Payer::REQUESTER => Err(s3_error!(NotImplemented, "Requests are not billed, to requesters neither.")),
        _ => Err(S3ErrorCode::MalformedXML.into()),
    }
}

/// PutBucketAccelerateConfiguration: there is no accelerated endpoint, and what there is not may be suspended.
pub(super) async fn put_acceleration(
    _: &Front,
    req: S3Request<dto::PutBucketAccelerateConfigurationInput>,
) -> S3Result<S3Response<dto::PutBucketAccelerateConfigurationOutput>> {
    Granted::of(&req)?.container()?;
    match req.input.accelerate_configuration.status.as_ref().map(dto::BucketAccelerateStatus::as_str) {
        Some(dto::BucketAccelerateStatus::SUSPENDED) => {
            Ok(S3Response::new(dto::PutBucketAccelerateConfigurationOutput::default()))
        }
        Some(dto::BucketAccelerateStatus::ENABLED) => {
            Err(s3_error!(NotImplemented, "Transfer acceleration is not implemented."))
        }
        _ => Err(S3ErrorCode::MalformedXML.into()),
    }
}
