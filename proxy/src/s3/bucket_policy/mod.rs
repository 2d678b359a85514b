//! Bucket policies: PutBucketPolicy and its like, policy status, and the block of public access.

mod condition;
mod document;
mod pattern;

use std::sync::Arc;

use anello_storage::ContainerInfo;
use anello_storage::store::IfMissing;
use http::StatusCode;
use moka::sync::Cache;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, dto};

pub(super) use condition::Facts;
pub(super) use document::{Asker, Policy, Verdict};

use super::acl;
use super::error::{OrNoBucket, custom};
use super::front::Front;
use super::limits::{POLICIES_CACHED, POLICY_BYTES_MAX};
use super::policy::Granted;

/// The bucket's metadata that hold its policy, as it was put.
const POLICY_NAME: &str = "x-container-sysmeta-s3-policy";
/// The bucket's metadata that say what public access is blocked: a digit for each of [`Block`]'s.
const BLOCK_NAME: &str = "x-container-sysmeta-s3-public-access-block";

/// What of public access is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Block {
    /// No list that opens to the public may be put.
    pub(super) new_lists: bool,
    /// Lists that open to the public don't.
    pub(super) lists: bool,
    /// No policy that opens to the public may be put.
    pub(super) new_policies: bool,
    /// A policy that opens to the public lets the own project in alone.
    pub(super) policies: bool,
}

impl Block {
    /// A bucket's.
    pub(super) fn of(container: &ContainerInfo) -> Self {
        Self::stored(container).unwrap_or_default()
    }

    fn stored(container: &ContainerInfo) -> Option<Self> {
        let text = find(container, BLOCK_NAME)?;
        let is_set = |at: usize| text.as_bytes().get(at) == Some(&b'1');
        Some(Self { new_lists: is_set(0), lists: is_set(1), new_policies: is_set(2), policies: is_set(3) })
    }

    fn text(self) -> String {
        let digits = [self.new_lists, self.lists, self.new_policies, self.policies];
        digits.map(|is_set| if is_set { '1' } else { '0' }).iter().collect()
    }
}

/// Policies as they were parsed, by their texts.
#[derive(Debug)]
pub(super) struct Policies(Cache<(String, String), Arc<Policy>>);

impl Default for Policies {
    fn default() -> Self {
        Self(Cache::new(POLICIES_CACHED))
    }
}

impl Policies {
    /// A bucket's policy. One that can't be read any more denies everything, since it may have meant to.
    pub(super) fn of(&self, bucket: &str, container: &ContainerInfo) -> S3Result<Option<Arc<Policy>>> {
        let Some(text) = find(container, POLICY_NAME) else { return Ok(None) };
        let key = (bucket.to_owned(), text.to_owned());
        if let Some(policy) = self.0.get(&key) {
            return Ok(Some(policy));
        }
        let policy = Arc::new(Policy::parse(text, bucket).map_err(|error| {
            tracing::error!(bucket, %error, "a bucket's policy can't be read");
            S3Error::from(S3ErrorCode::AccessDenied)
        })?);
        self.0.insert(key, policy.clone());
        Ok(Some(policy))
    }
}

fn find<'a>(container: &'a ContainerInfo, wanted: &str) -> Option<&'a str> {
    container.metadata.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

async fn replace(front: &Front, granted: &Granted, bucket: &str, name: &str, text: String) -> S3Result<()> {
    let changes = vec![(name.to_owned(), text)];
    front.store.container_update(&granted.account, bucket, changes, 0, IfMissing::Fail).await.or_no_bucket()?;
    Ok(())
}

/// PutBucketPolicy.
pub(super) async fn put(
    front: &Front,
    req: S3Request<dto::PutBucketPolicyInput>,
) -> S3Result<S3Response<dto::PutBucketPolicyOutput>> {
    let granted = Granted::of(&req)?;
    let input = req.input;
    let malformed = |text: String| S3Error::with_message(S3ErrorCode::MalformedPolicy, text);
    if input.policy.len() > POLICY_BYTES_MAX {
        return Err(malformed(format!("Policies are at most {POLICY_BYTES_MAX} bytes long")));
    }
    let policy = Policy::parse(&input.policy, &input.bucket).map_err(|error| malformed(error.to_string()))?;
    if policy.is_public() && Block::of(granted.container()?).new_policies {
        return Err(S3ErrorCode::AccessDenied.into());
    }
    replace(front, &granted, &input.bucket, POLICY_NAME, input.policy).await?;
    let mut response = S3Response::new(dto::PutBucketPolicyOutput::default());
    response.status = Some(StatusCode::NO_CONTENT);
    Ok(response)
}

/// GetBucketPolicy.
pub(super) async fn get(
    _: &Front,
    req: S3Request<dto::GetBucketPolicyInput>,
) -> S3Result<S3Response<dto::GetBucketPolicyOutput>> {
    let granted = Granted::of(&req)?;
    let policy = find(granted.container()?, POLICY_NAME).map(str::to_owned);
    let policy = policy.ok_or(S3ErrorCode::NoSuchBucketPolicy)?;
    Ok(S3Response::new(dto::GetBucketPolicyOutput { policy: Some(policy) }))
}

/// DeleteBucketPolicy.
pub(super) async fn delete(
    front: &Front,
    req: S3Request<dto::DeleteBucketPolicyInput>,
) -> S3Result<S3Response<dto::DeleteBucketPolicyOutput>> {
    let granted = Granted::of(&req)?;
    replace(front, &granted, &req.input.bucket, POLICY_NAME, String::new()).await?;
    Ok(S3Response::new(dto::DeleteBucketPolicyOutput::default()))
}

/// GetBucketPolicyStatus: whether the bucket is public, by its policy or its lists.
pub(super) async fn status(
    front: &Front,
    req: S3Request<dto::GetBucketPolicyStatusInput>,
) -> S3Result<S3Response<dto::GetBucketPolicyStatusOutput>> {
    let granted = Granted::of(&req)?;
    let container = granted.container()?;
    let by_policy = front.policies.of(&req.input.bucket, container)?.is_some_and(|policy| policy.is_public());
    let by_lists = !Block::of(container).lists && acl::is_public(front, container);
    let status = dto::PolicyStatus { is_public: Some(by_policy || by_lists) };
    Ok(S3Response::new(dto::GetBucketPolicyStatusOutput { policy_status: Some(status) }))
}

/// PutPublicAccessBlock.
pub(super) async fn put_block(
    front: &Front,
    req: S3Request<dto::PutPublicAccessBlockInput>,
) -> S3Result<S3Response<dto::PutPublicAccessBlockOutput>> {
    let granted = Granted::of(&req)?;
    let wanted = &req.input.public_access_block_configuration;
    let block = Block {
        new_lists: wanted.block_public_acls.unwrap_or(false),
        lists: wanted.ignore_public_acls.unwrap_or(false),
        new_policies: wanted.block_public_policy.unwrap_or(false),
        policies: wanted.restrict_public_buckets.unwrap_or(false),
    };
    replace(front, &granted, &req.input.bucket, BLOCK_NAME, block.text()).await?;
    Ok(S3Response::new(dto::PutPublicAccessBlockOutput::default()))
}

/// GetPublicAccessBlock.
pub(super) async fn get_block(
    _: &Front,
    req: S3Request<dto::GetPublicAccessBlockInput>,
) -> S3Result<S3Response<dto::GetPublicAccessBlockOutput>> {
    let granted = Granted::of(&req)?;
    let block = Block::stored(granted.container()?).ok_or_else(|| {
        custom(
            "NoSuchPublicAccessBlockConfiguration",
            StatusCode::NOT_FOUND,
            "The public access block configuration was not found",
        )
    })?;
    let public_access_block_configuration = Some(dto::PublicAccessBlockConfiguration {
        block_public_acls: Some(block.new_lists),
        ignore_public_acls: Some(block.lists),
        block_public_policy: Some(block.new_policies),
        restrict_public_buckets: Some(block.policies),
    });
    Ok(S3Response::new(dto::GetPublicAccessBlockOutput { public_access_block_configuration }))
}

/// DeletePublicAccessBlock.
pub(super) async fn delete_block(
    front: &Front,
    req: S3Request<dto::DeletePublicAccessBlockInput>,
) -> S3Result<S3Response<dto::DeletePublicAccessBlockOutput>> {
    let granted = Granted::of(&req)?;
    replace(front, &granted, &req.input.bucket, BLOCK_NAME, String::new()).await?;
    Ok(S3Response::new(dto::DeletePublicAccessBlockOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Asker<'_> = Asker { signed: Some(("sea", "a1", "alice")) };
    const BOB: Asker<'_> = Asker { signed: Some(("land", "b1", "bob")) };
    const NOBODY: Asker<'_> = Asker { signed: None };

    fn policy(statements: &str) -> Policy {
        let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
        Policy::parse(&text, "b").unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn decide(policy: &Policy, asker: Asker<'_>, action: &str, resource: &str) -> Verdict {
        let mut facts = Facts::default();
        if let Some((_, _, name)) = asker.signed {
            facts.add("aws:username", name);
        }
        policy.decide(asker, action, &format!("arn:aws:s3:::{resource}"), &facts)
    }

    #[test]
    fn a_denial_outweighs_and_silence_is_neither() {
        let policy = policy(
            r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"},
               {"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::land:root"}, "Action": "s3:*",
                "Resource": ["arn:aws:s3:::b/secret/*"]}"#,
        );
        for (asker, action, resource, want) in [
            (ALICE, "s3:GetObject", "b/x", Verdict::Allow),
            (NOBODY, "s3:getobject", "b/x", Verdict::Allow),
            (BOB, "s3:GetObject", "b/secret/x", Verdict::Deny),
            (ALICE, "s3:GetObject", "b/secret/x", Verdict::Allow),
            (ALICE, "s3:PutObject", "b/x", Verdict::Silent),
            (ALICE, "s3:ListBucket", "b", Verdict::Silent),
        ] {
            assert_eq!(decide(&policy, asker, action, resource), want, "{action} {resource}");
        }
    }

    #[test]
    fn all_but_some_are_meant_by_not() {
        let policy = policy(
            r#"{"Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::sea:user/alice"}, "NotAction": "s3:List*",
                "NotResource": "arn:aws:s3:::b/open/*"}"#,
        );
        for (asker, action, resource, want) in [
            (ALICE, "s3:GetObject", "b/x", Verdict::Silent),
            (BOB, "s3:GetObject", "b/x", Verdict::Deny),
            (NOBODY, "s3:GetObject", "b/x", Verdict::Deny),
            (BOB, "s3:ListBucket", "b", Verdict::Silent),
            (BOB, "s3:GetObject", "b/open/x", Verdict::Silent),
        ] {
            assert_eq!(decide(&policy, asker, action, resource), want, "{action} {resource}");
        }
    }

    #[test]
    fn principals_are_those_that_they_name() {
        for (principal, want) in [
            (r#""*""#, [true, true, true]),
            (r#"{"AWS": "*"}"#, [true, true, true]),
            (r#"{"AWS": "sea"}"#, [true, false, false]),
            (r#"{"AWS": ["arn:aws:iam::land:user/b1", "arn:aws:iam:::user/alice"]}"#, [true, true, false]),
            (r#"{"AWS": "arn:aws:iam::land:user/alice"}"#, [false, false, false]),
            (r#"{"CanonicalUser": "land"}"#, [false, true, false]),
            (r#"{"Service": "logging.s3.amazonaws.com"}"#, [false, false, false]),
        ] {
            let policy = policy(&format!(
                r#"{{"Effect": "Allow", "Principal": {principal}, "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"}}"#
            ));
            let found =
                [ALICE, BOB, NOBODY].map(|asker| decide(&policy, asker, "s3:GetObject", "b/x") == Verdict::Allow);
            assert_eq!(found, want, "{principal}");
        }
    }

    #[test]
    fn variables_and_conditions_narrow() {
        let policy = policy(
            r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                "Resource": "arn:aws:s3:::b/home/${aws:username}/*",
                "Condition": {"StringEquals": {"aws:username": "alice"}}}"#,
        );
        assert_eq!(decide(&policy, ALICE, "s3:GetObject", "b/home/alice/x"), Verdict::Allow);
        assert_eq!(decide(&policy, ALICE, "s3:GetObject", "b/home/bob/x"), Verdict::Silent);
        assert_eq!(decide(&policy, BOB, "s3:GetObject", "b/home/bob/x"), Verdict::Silent);
        assert!(!policy.is_public());
    }

    #[test]
    fn what_says_too_little_or_too_much_is_refused() {
        let whole = r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"}"#;
        assert!(Policy::parse(&format!(r#"{{"Statement": {whole}}}"#), "b").is_ok());
        for text in [
            "",
            "[]",
            "{}",
            r#"{"Version": "2012-10-17"}"#,
            &format!(r#"{{"Version": "2020-01-01", "Statement": [{whole}]}}"#),
            &format!(r#"{{"Statement": [{whole}], "More": 1}}"#),
            &format!(r#"{{"Statement": [{}]}}"#, whole.replace("Allow", "Perhaps")),
            &format!(r#"{{"Statement": [{}]}}"#, whole.replace("s3:*", "ec2:*")),
            &format!(r#"{{"Statement": [{}]}}"#, whole.replace(":::b", ":::c")),
            &format!(r#"{{"Statement": [{}]}}"#, whole.replace("Principal", "NotPrincipal")),
            &format!(r#"{{"Statement": [{}]}}"#, whole.replace("Principal", "Whoever")),
            &format!(r#"{{"Statement": [{}]}}"#, whole.replace(r#""*""#, r#"{"AWS": "arn:aws:ec2::1:user/x"}"#)),
        ] {
            assert!(Policy::parse(text, "b").is_err(), "{text}");
        }
    }
}
