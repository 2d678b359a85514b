//! What is answered about settings of buckets that can't be set here: what S3 answers where they never were. Setting one
//! is refused as not implemented.

use http::StatusCode;
use s3s::{S3Request, S3Response, S3Result, dto};

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
    get_lifecycle(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput,
        delete_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput:
        "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist";
    get_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput,
        delete_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput:
        "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found";
    get_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput,
        delete_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput:
        "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration";
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
    get_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput = dto::GetBucketLoggingOutput::default();
    get_notification(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput =
        dto::GetBucketNotificationConfigurationOutput::default();
    get_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = dto::GetBucketRequestPaymentOutput {
        payer: Some(dto::Payer::from_static(dto::Payer::BUCKET_OWNER)),
    };
}
