//! The administrator's credential files, in the forms that the clients read: `clouds.yaml` for the
//! OpenStack clients, `openrc` and `s3.env` for a shell. Directory 0700, files 0600.

use std::path::Path;

use crate::serve::home::{HomeError, Urls, private_directory, write_whole};

/// What the files say. Secrets: no `Debug`.
pub(crate) struct Credentials<'a> {
    pub(crate) urls: &'a Urls,
    pub(crate) identity_region: &'a str,
    pub(crate) s3_region: &'a str,
    pub(crate) password: &'a str,
    pub(crate) access_key: &'a str,
    pub(crate) secret_key: &'a str,
}

/// Names of the files.
pub(crate) const FILES: [&str; 3] = ["clouds.yaml", "openrc", "s3.env"];

impl Credentials<'_> {
    /// Writes all files; each is whole or as before.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), HomeError> {
        private_directory(directory)?;
        for (name, text) in FILES.iter().zip([self.clouds_yaml(), self.openrc(), self.s3_env()]) {
            write_whole(&directory.join(name), &text)?;
        }
        Ok(())
    }

    fn clouds_yaml(&self) -> String {
        format!(
            "clouds:\n  anello:\n    auth:\n      auth_url: \"{url}/v3\"\n      username: admin\n      \
             password: \"{password}\"\n      project_name: admin\n      user_domain_name: Default\n      \
             project_domain_name: Default\n    region_name: {region}\n    interface: public\n    \
             identity_api_version: 3\n",
            url = self.urls.identity(),
            password = self.password,
            region = self.identity_region,
        )
    }

    fn openrc(&self) -> String {
        exports(&[
            ("OS_AUTH_URL", &format!("{}/v3", self.urls.identity())),
            ("OS_IDENTITY_API_VERSION", "3"),
            ("OS_AUTH_VERSION", "3"),
            ("OS_USERNAME", "admin"),
            ("OS_PASSWORD", self.password),
            ("OS_PROJECT_NAME", "admin"),
            ("OS_USER_DOMAIN_NAME", "Default"),
            ("OS_PROJECT_DOMAIN_NAME", "Default"),
            ("OS_REGION_NAME", self.identity_region),
            ("OS_INTERFACE", "public"),
        ])
    }

    fn s3_env(&self) -> String {
        exports(&[
            ("AWS_ACCESS_KEY_ID", self.access_key),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key),
            ("AWS_ENDPOINT_URL", &self.urls.s3),
            ("AWS_REGION", self.s3_region),
            ("AWS_DEFAULT_REGION", self.s3_region),
        ])
    }
}

/// Lines for a shell's `.`; in single quotes nothing is special but the quote itself.
fn exports(variables: &[(&str, &str)]) -> String {
    variables.iter().map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', "'\\''"))).collect()
}

/// Follows changed URLs in the files that are still there, each of which names some of `before`. Durable when it
/// returns.
pub(crate) fn follow_urls(directory: &Path, before: &[Urls], now: &Urls) -> Result<(), HomeError> {
    for name in FILES {
        let path = directory.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(HomeError::Io { action: "read", path, source }),
        };
        let url = |urls: &Urls| if name == "s3.env" { urls.s3.clone() } else { urls.identity() };
        let changed = before.iter().fold(text.clone(), |text, before| replace_url(&text, &url(before), &url(now)));
        if changed != text {
            write_whole(&path, &changed)?;
        }
    }
    Ok(())
}

/// `text` with one URL in place of another, which must not be the beginning of a third.
fn replace_url(text: &str, before: &str, now: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(before) {
        let (passed, behind) = (&rest[..at], &rest[at + before.len()..]);
        let is_whole =
            !behind.starts_with(|next: char| next.is_ascii_alphanumeric() || matches!(next, '.' | '-' | ':'));
        replaced.push_str(passed);
        replaced.push_str(if is_whole { now } else { before });
        rest = behind;
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn urls(port: u16) -> Urls {
        let (gateway, s3) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", port + 1));
        Urls { gateway, s3, identity: None }
    }

    fn written(directory: &Path) -> Vec<String> {
        let credentials = Credentials {
            urls: &urls(8080),
            identity_region: "RegionOne",
            s3_region: "us-east-1",
            password: "it's",
            access_key: "a",
            secret_key: "s",
        };
        credentials.write(directory).expect("written");
        read(directory)
    }

    fn read(directory: &Path) -> Vec<String> {
        FILES.iter().filter_map(|name| std::fs::read_to_string(directory.join(name)).ok()).collect()
    }

    #[test]
    fn only_the_owner_reads_the_credentials_and_a_shell_reads_them_right() {
        let root = tempfile::tempdir().expect("temporary directory");
        let directory = root.path().join("credentials");
        let files = written(&directory);
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        for name in FILES {
            assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
        }
        assert!(files[1].contains("export OS_PASSWORD='it'\\''s'\n"), "{}", files[1]);
        assert!(files[2].contains("export AWS_ENDPOINT_URL='http://127.0.0.1:8081'\n"), "{}", files[2]);
    }

    #[test]
    fn a_changed_address_changes_the_files_that_are_there_and_brings_none_back() {
        let root = tempfile::tempdir().expect("temporary directory");
        written(root.path());
        std::fs::remove_file(root.path().join("openrc")).expect("removed");
        follow_urls(root.path(), &[urls(8080)], &urls(18080)).expect("followed");
        let files = read(root.path());
        assert_eq!(files.len(), 2);
        assert!(files[0].contains("\"http://127.0.0.1:18080/identity/v3\""), "{}", files[0]);
        assert!(files[1].contains("'http://127.0.0.1:18081'"), "{}", files[1]);
    }
    /// Without this a start that was killed while it followed leaves files with an address that nobody follows.
    #[test]
    fn files_of_which_some_were_followed_before_come_to_the_same() {
        let root = tempfile::tempdir().expect("temporary directory");
        written(root.path());
        follow_urls(root.path(), &[urls(8080)], &urls(808)).expect("followed");
        let one = root.path().join("openrc");
        let text = std::fs::read_to_string(&one).expect("there");
        std::fs::write(&one, replace_url(&text, &urls(808).gateway, &urls(8080).gateway)).expect("written");
        follow_urls(root.path(), &[urls(808), urls(8080)], &urls(18080)).expect("followed");
        let files = read(root.path());
        assert!(files[0].contains("\"http://127.0.0.1:18080/identity/v3\""), "{}", files[0]);
        assert!(files[1].contains("'http://127.0.0.1:18080/identity/v3'"), "{}", files[1]);
        assert!(files[2].contains("'http://127.0.0.1:18081'"), "{}", files[2]);
    }
}
