//! Operations whose inputs or outputs have the same fields in `s3s`, but no type in common.

/// Reads what GetObject and HeadObject ask for ([`super::get::Wanted`]), or answers what they may not.
macro_rules! wanted {
    ($granted:expr, $input:ident) => {{
        refuse_customer_keys(&[
            &$input.sse_customer_algorithm,
            &$input.sse_customer_key,
            &$input.sse_customer_key_md5,
        ])?;
        Wanted {
            conditions: ReadConditions::new(
                $input.if_match,
                $input.if_none_match,
                $input.if_modified_since,
                $input.if_unmodified_since,
            ),
            range: $input.range,
            part_number: $input.part_number,
            with_checksum: $input.checksum_mode.is_some(),
            overrides: overrides(
                $granted,
                [
                    (header::CACHE_CONTROL, $input.response_cache_control),
                    (header::CONTENT_DISPOSITION, $input.response_content_disposition),
                    (header::CONTENT_ENCODING, $input.response_content_encoding),
                    (header::CONTENT_LANGUAGE, $input.response_content_language),
                    (header::CONTENT_TYPE, $input.response_content_type),
                    (header::EXPIRES, $input.response_expires.map(http_date)),
                ],
            )?,
        }
    }};
}

/// What the inputs that make an object say of it ([`super::metadata::Described`]).
macro_rules! described {
    ($input:ident) => {
        $crate::s3::metadata::Described {
            content_type: $input.content_type,
            cache_control: $input.cache_control,
            content_disposition: $input.content_disposition,
            content_encoding: $input.content_encoding,
            content_language: $input.content_language,
            expires: $input.expires,
            user: $input.metadata,
            tagging: $input.tagging,
        }
    };
}

/// Refuses what the inputs that make an object ask for and is not offered.
macro_rules! check_extras {
    ($input:ident) => {{
        $crate::s3::put::Extras { encryption: $input.server_side_encryption.as_ref() }.check()?;
    }};
}

/// What the inputs that make an object say of who may do what with it ([`super::acl::Given`]).
macro_rules! acl_given {
    ($input:ident) => {
        $crate::s3::acl::Given {
            canned: $input.acl.take().map(|acl| acl.as_str().to_owned()),
            headers: [
                $input.grant_full_control.take(),
                $input.grant_read.take(),
                $input.grant_read_acp.take(),
                None,
                $input.grant_write_acp.take(),
            ],
            policy: None,
        }
    };
}

/// What the inputs that make an object say of its locks ([`super::lock::Wanted`]).
macro_rules! lock_wanted {
    ($input:ident) => {
        $crate::s3::lock::Wanted {
            mode: $input.object_lock_mode.take(),
            until: $input.object_lock_retain_until_date.take(),
            hold: $input.object_lock_legal_hold_status.take(),
        }
    };
}

/// Refuses keys of the client's own, for either side of a copy.
macro_rules! check_copy_keys {
    ($input:ident) => {
        $crate::s3::get::refuse_customer_keys(&[
            &$input.sse_customer_algorithm,
            &$input.sse_customer_key,
            &$input.copy_source_sse_customer_algorithm,
            &$input.copy_source_sse_customer_key,
        ])
    };
}

/// Puts a checksum into the fields that outputs have for it.
macro_rules! with_checksum {
    ($checksum:expr, $output:expr) => {{
        let (shown, mut output) = ($crate::s3::checksum::shown($checksum), $output);
        output.checksum_crc32 = shown.checksum_crc32;
        output.checksum_crc32c = shown.checksum_crc32c;
        output.checksum_crc64nvme = shown.checksum_crc64nvme;
        output.checksum_sha1 = shown.checksum_sha1;
        output.checksum_sha256 = shown.checksum_sha256;
        output.checksum_type = shown.checksum_type;
        output
    }};
}

/// What the three listings ask for ([`super::listing`]); `$after`: names behind this one only.
macro_rules! asked {
    ($input:ident, $after:expr) => {
        Asked {
            encoding: Encoding::new($input.encoding_type.as_ref())?,
            limit: page_size($input.max_keys, "max-keys")?,
            after: $after,
            bucket: $input.bucket,
            prefix: $input.prefix,
            delimiter: $input.delimiter.filter(|delimiter| !delimiter.is_empty()),
        }
    };
}

pub(super) use {acl_given, asked, check_copy_keys, check_extras, described, lock_wanted, wanted, with_checksum};
