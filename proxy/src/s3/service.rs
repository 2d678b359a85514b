//! The operations on offer, each to its file. What is not here answers NotImplemented, and what is here
//! has its rule in [`super::policy`].

use std::sync::Arc;

use s3s::auth::{S3Auth, SecretKey};
use s3s::host::{S3Host, VirtualHost};
use s3s::validation::NameValidation;
use s3s::{S3, S3Request, S3Response, S3Result, dto};

use super::front::Front;
use super::{
    access_log, acl, bucket, bucket_policy, copy, cors, delete, get, lifecycle, listing, lock, multipart, put, tagging,
    unset, version, website,
};

/// Hands every operation to its function.
macro_rules! operations {
    ($($name:ident($input:ident) -> $output:ident = $function:path;)*) => {
        /// The operations.
        pub(super) struct Operations(pub(super) Arc<Front>);

        #[async_trait::async_trait]
        impl S3 for Operations {
            $(async fn $name(&self, req: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                $function(&self.0, req).await
            })*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput = bucket::list;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = bucket::create;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = bucket::head;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = bucket::delete;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = bucket::location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = version::get;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = version::put;
    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = acl::bucket::get;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput = acl::bucket::put;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = acl::ownership::get;
    put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput = acl::ownership::put;
    delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput = acl::ownership::delete;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = tagging::get_bucket;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = tagging::put_bucket;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = tagging::delete_bucket;
    list_objects(ListObjectsInput) -> ListObjectsOutput = listing::version_1;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = listing::version_2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = listing::versions;
    put_object(PutObjectInput) -> PutObjectOutput = put::put;
    get_object(GetObjectInput) -> GetObjectOutput = get::get;
    head_object(HeadObjectInput) -> HeadObjectOutput = get::head;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = get::attributes;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = delete::one;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = delete::many;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy::copy;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = acl::object::get;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput = acl::object::put;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = tagging::get_object;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = tagging::put_object;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = tagging::delete_object;
    put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput = bucket_policy::put;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = bucket_policy::get;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = bucket_policy::delete;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = bucket_policy::status;
    put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput = bucket_policy::put_block;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = bucket_policy::get_block;
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput = bucket_policy::delete_block;
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput = cors::put;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = cors::get;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = cors::delete;
    put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput = lifecycle::put;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput = lifecycle::get;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = lifecycle::delete;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = unset::get_encryption;
    delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput = unset::delete_encryption;
    put_bucket_website(PutBucketWebsiteInput) -> PutBucketWebsiteOutput = website::put;
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput = website::get;
    delete_bucket_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput = website::delete;
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput = unset::get_replication;
    delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput = unset::delete_replication;
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput = unset::get_acceleration;
    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput = access_log::get;
    put_bucket_logging(PutBucketLoggingInput) -> PutBucketLoggingOutput = access_log::put;
    put_bucket_request_payment(PutBucketRequestPaymentInput) -> PutBucketRequestPaymentOutput = unset::put_payment;
    put_bucket_accelerate_configuration(PutBucketAccelerateConfigurationInput) -> PutBucketAccelerateConfigurationOutput = unset::put_acceleration;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput = unset::get_notification;
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = unset::get_payment;
    put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput = lock::put_configuration;
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput = lock::get_configuration;
    put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput = lock::put_retention;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput = lock::get_retention;
    put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput = lock::put_hold;
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput = lock::get_hold;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
    upload_part(UploadPartInput) -> UploadPartOutput = multipart::upload;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = multipart::upload_copy;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    list_parts(ListPartsInput) -> ListPartsOutput = multipart::parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = multipart::uploads;
}

/// Where `s3s` finds the secret of a key.
pub(super) struct Keys(pub(super) Arc<Front>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        Ok(self.0.signing_key(access_key).await?.secret.into())
    }
}

/// Bucket names that may be addressed. Containers made through Swift have freer names than S3 lets a
/// bucket be created with, and are reached all the same.
pub(super) struct AnyContainer;

impl NameValidation for AnyContainer {
    fn validate_bucket_name(&self, name: &str) -> bool {
        // Names that start with a dot are no container of any door; 256 is Swift's limit.
        !name.is_empty() && name.len() <= 256 && !name.starts_with('.')
    }
}

/// The bucket that a host below the base domain names.
pub(super) fn bucket_below<'a>(base: &str, host: &'a str) -> Option<&'a str> {
    let without_port = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let bucket = without_port.strip_suffix(base).and_then(|rest| rest.strip_suffix('.'));
    bucket.filter(|bucket| !bucket.is_empty())
}

/// `bucket.<base>` names a bucket; any other host is just where we are.
pub(super) struct BaseDomain(pub(super) String);

impl S3Host for BaseDomain {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let plain = VirtualHost::new(host);
        Ok(match bucket_below(&self.0, host) {
            Some(bucket) => plain.with_bucket(bucket),
            None => plain,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_below_the_base_name_a_bucket() {
        let base = BaseDomain("s3.example.com".into());
        let check = |host: &str, want: Option<&str>| {
            assert_eq!(base.parse_host_header(host).expect(host).bucket(), want, "{host}");
        };
        check("photos.s3.example.com", Some("photos"));
        check("photos.s3.example.com:9000", Some("photos"));
        check("a.b.s3.example.com", Some("a.b"));
        check("s3.example.com", None);
        check("localhost:9000", None);
        check("evils3.example.com", None);
    }
}
