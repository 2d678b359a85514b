//! What a Fernet token carries: Keystone's MessagePack payloads of versions 0 (unscoped), 1 (domain), 2 (project), 3 (trust),
//! 8 (system) and 9 (application credential).
//!
//! ```text
//! 0: [0, user, methods,         expires_at, [audit ids]]
//! 1: [1, user, methods, domain, expires_at, [audit ids]]          domain: 16 bytes, or a string ("default")
//! 2: [2, user, methods, project, expires_at, [audit ids]]
//! 3: [3, user, methods, project, expires_at, [audit ids], trust]
//! 8: [8, user, methods, "all",  expires_at, [audit ids]]
//! 9: [9, user, methods, project, expires_at, [audit ids], application credential]
//! ```
//! User, project, trust, application credential: `[true, 16 bytes]` of a hex id, or `[false, string]`. Methods: a bit
//! mask. Time: seconds as a float. Audit ids: 16 random bytes each, shown as base64url. Bytes from outside:
//! whatever does not have this shape is no token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmpv::Value;

/// How somebody showed who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Password,
    Token,
    ApplicationCredential,
    /// A signed request, by an EC2 key.
    Ec2Credential,
    /// A passcode that changes with time.
    Totp,
}

impl Method {
    pub(crate) const ALL: [Self; 5] =
        [Self::Password, Self::Token, Self::ApplicationCredential, Self::Ec2Credential, Self::Totp];

    /// The bit that Keystone's default list of methods gives it (external 1, oauth1 8 and mapped 16 are not
    /// offered here).
    fn bit(self) -> u64 {
        match self {
            Self::Password => 2,
            Self::Token => 4,
            Self::ApplicationCredential => 32,
            Self::Ec2Credential => 64,
            Self::Totp => 128,
        }
    }

    fn mask(methods: &[Self]) -> u64 {
        methods.iter().fold(0, |mask, method| mask | method.bit())
    }

    fn unmask(mask: u64) -> Vec<Self> {
        Self::ALL.into_iter().filter(|method| mask & method.bit() != 0).collect()
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Token => "token",
            Self::ApplicationCredential => "application_credential",
            Self::Ec2Credential => "ec2credential",
            Self::Totp => "totp",
        }
    }
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenScope {
    Unscoped,
    Domain(String),
    Project(String),
    System,
    /// A project, by what a trust lends there.
    Trust {
        project_id: String,
        trust_id: String,
    },
    /// A project, and the application credential that it was got with.
    ApplicationCredential {
        project_id: String,
        credential_id: String,
    },
}

impl TokenScope {
    pub(crate) fn project_id(&self) -> Option<&str> {
        match self {
            Self::Project(id)
            | Self::Trust { project_id: id, .. }
            | Self::ApplicationCredential { project_id: id, .. } => Some(id),
            _ => None,
        }
    }
}

/// A token's content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Payload {
    pub(crate) user_id: String,
    pub(crate) methods: Vec<Method>,
    pub(crate) scope: TokenScope,
    pub(crate) expires_at_us: u64,
    /// The token's own id, and the one of the first token of its chain.
    pub(crate) audit_ids: Vec<String>,
}

/// A new audit id.
pub(crate) fn audit_id() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

impl Payload {
    /// The MessagePack form.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let methods = Method::mask(&self.methods);
        let user = pack_id(&self.user_id);
        let mut fields = match &self.scope {
            TokenScope::Unscoped => vec![0.into(), user, methods.into()],
            TokenScope::Domain(id) => vec![1.into(), user, methods.into(), pack_bare_id(id)],
            TokenScope::Project(id) => vec![2.into(), user, methods.into(), pack_id(id)],
            TokenScope::Trust { project_id, .. } => vec![3.into(), user, methods.into(), pack_id(project_id)],
            TokenScope::System => vec![8.into(), user, methods.into(), "all".into()],
            TokenScope::ApplicationCredential { project_id, .. } => {
                vec![9.into(), user, methods.into(), pack_id(project_id)]
            }
        };
        fields.push(Value::F64(self.expires_at_us as f64 / 1e6));
        let audit_ids = self.audit_ids.iter().filter_map(|id| URL_SAFE_NO_PAD.decode(id).ok());
        fields.push(Value::Array(audit_ids.map(Value::Binary).collect()));
        if let TokenScope::ApplicationCredential { credential_id: id, .. } | TokenScope::Trust { trust_id: id, .. } =
            &self.scope
        {
            fields.push(pack_id(id));
        }
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &Value::Array(fields)).expect("writing to memory does not fail");
        bytes
    }

    /// From the MessagePack form.
    pub(crate) fn unpack(mut bytes: &[u8]) -> Option<Self> {
        let fields = rmpv::decode::read_value(&mut bytes).ok()?;
        if !bytes.is_empty() {
            return None;
        }
        let fields = fields.as_array()?;
        let (version, rest) = fields.split_first()?;
        let (user, methods, rest) = match rest {
            [user, methods, rest @ ..] => (unpack_id(user)?, methods.as_u64()?, rest),
            _ => return None,
        };
        let (scope, expires_at, audit_ids) = match (version.as_u64()?, rest) {
            (0, [expires_at, audit_ids]) => (TokenScope::Unscoped, expires_at, audit_ids),
            (1, [domain, expires_at, audit_ids]) => {
                (TokenScope::Domain(unpack_bare_id(domain)?), expires_at, audit_ids)
            }
            (2, [project, expires_at, audit_ids]) => (TokenScope::Project(unpack_id(project)?), expires_at, audit_ids),
            (3, [project, expires_at, audit_ids, trust]) => {
                let (project_id, trust_id) = (unpack_id(project)?, unpack_id(trust)?);
                (TokenScope::Trust { project_id, trust_id }, expires_at, audit_ids)
            }
            (8, [system, expires_at, audit_ids]) if text(system)? == "all" => {
                (TokenScope::System, expires_at, audit_ids)
            }
            (9, [project, expires_at, audit_ids, credential]) => {
                let (project_id, credential_id) = (unpack_id(project)?, unpack_id(credential)?);
                (TokenScope::ApplicationCredential { project_id, credential_id }, expires_at, audit_ids)
            }
            _ => return None,
        };
        let expires_at = expires_at.as_f64().filter(|seconds| (0.0..1e11).contains(seconds))?;
        let audit_ids = audit_ids.as_array()?.iter().map(|id| Some(URL_SAFE_NO_PAD.encode(id.as_slice()?)));
        Some(Self {
            user_id: user,
            methods: Method::unmask(methods),
            scope,
            expires_at_us: (expires_at * 1e6).round() as u64,
            audit_ids: audit_ids.collect::<Option<Vec<_>>>().filter(|ids| !ids.is_empty())?,
        })
    }
}

/// What an authentication receipt carries: `[0, user, methods, expires_at]`. It says which proofs somebody has
/// given already who must give more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Receipt {
    pub(crate) user_id: String,
    pub(crate) methods: Vec<Method>,
    pub(crate) expires_at_us: u64,
}

impl Receipt {
    /// The MessagePack form.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let expires_at = Value::F64(self.expires_at_us as f64 / 1e6);
        let fields = vec![0.into(), pack_id(&self.user_id), Method::mask(&self.methods).into(), expires_at];
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &Value::Array(fields)).expect("writing to memory does not fail");
        bytes
    }

    /// From the MessagePack form.
    pub(crate) fn unpack(mut bytes: &[u8]) -> Option<Self> {
        let fields = rmpv::decode::read_value(&mut bytes).ok().filter(|_| bytes.is_empty())?;
        let [version, user, methods, expires_at] = fields.as_array()?.as_slice() else { return None };
        let expires_at = expires_at.as_f64().filter(|seconds| (0.0..1e11).contains(seconds))?;
        Some(Self {
            user_id: version.as_u64().filter(|version| *version == 0).and_then(|_| unpack_id(user))?,
            methods: Method::unmask(methods.as_u64()?),
            expires_at_us: (expires_at * 1e6).round() as u64,
        })
    }
}

/// 16 bytes, where the id is 32 lower-case hex digits: the text comes back the same.
fn id_bytes(id: &str) -> Option<Vec<u8>> {
    hex::decode(id).ok().filter(|bytes| bytes.len() == 16 && hex::encode(bytes) == id)
}

fn pack_id(id: &str) -> Value {
    Value::Array(match id_bytes(id) {
        Some(bytes) => vec![true.into(), Value::Binary(bytes)],
        None => vec![false.into(), id.into()],
    })
}

fn unpack_id(value: &Value) -> Option<String> {
    match value.as_array()?.as_slice() {
        [is_bytes, id] if is_bytes.as_bool()? => id.as_slice().filter(|bytes| bytes.len() == 16).map(hex::encode),
        [_, id] => text(id),
        _ => None,
    }
}

fn pack_bare_id(id: &str) -> Value {
    id_bytes(id).map_or_else(|| id.into(), Value::Binary)
}

fn unpack_bare_id(value: &Value) -> Option<String> {
    match value {
        Value::Binary(bytes) if bytes.len() == 16 => Some(hex::encode(bytes)),
        value => text(value),
    }
}

/// A string, which some writers of MessagePack keep as bytes.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Binary(bytes) => String::from_utf8(bytes.clone()).ok(),
        value => value.as_str().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(scope: TokenScope) -> Payload {
        Payload {
            user_id: "0123456789abcdef0123456789abcdef".to_owned(),
            methods: vec![Method::Password, Method::Token],
            scope,
            expires_at_us: 1_700_000_000_123_456,
            audit_ids: vec![audit_id(), audit_id()],
        }
    }

    #[test]
    fn every_scope_survives_a_round_trip() {
        let id = || "fedcba9876543210fedcba9876543210".to_owned();
        for scope in [
            TokenScope::Unscoped,
            TokenScope::Domain("default".to_owned()),
            TokenScope::Domain(id()),
            TokenScope::Project(id()),
            TokenScope::Project("not-hex".to_owned()),
            TokenScope::System,
            TokenScope::Trust { project_id: id(), trust_id: id() },
            TokenScope::ApplicationCredential { project_id: id(), credential_id: id() },
        ] {
            let payload = payload(scope);
            assert_eq!(Payload::unpack(&payload.pack()), Some(payload));
        }
    }

    #[test]
    fn keystones_own_bytes_are_read() {
        // msgpack.packb((2, (True, b"\x01"*16), 2, (True, b"\x02"*16), 1700000000.5, [b"\x03"*16]))
        let bytes = hex::decode(
            "960292c3c4100101010101010101010101010101010102\
             92c3c41002020202020202020202020202020202\
             cb41d954fc4020000091c41003030303030303030303030303030303",
        );
        let payload = Payload::unpack(&bytes.expect("hex")).expect("a project token");
        assert_eq!(payload.user_id, "01".repeat(16));
        assert_eq!(payload.scope, TokenScope::Project("02".repeat(16)));
        assert_eq!(payload.methods, [Method::Password]);
        assert_eq!(payload.expires_at_us, 1_700_000_000_500_000);
    }

    #[test]
    fn what_has_another_shape_is_no_token() {
        let good = payload(TokenScope::System).pack();
        assert_eq!(Payload::unpack(&good[..good.len() - 1]), None, "cut");
        assert_eq!(Payload::unpack(&[good, vec![0]].concat()), None, "longer");
        for bytes in [&b""[..], b"\x90", b"\x91\x00", b"\xc0", b"\x95\x07\xc3\x02\xcb\x90"] {
            assert_eq!(Payload::unpack(bytes), None, "{bytes:?}");
        }
    }
}
