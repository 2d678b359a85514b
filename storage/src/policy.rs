//! Storage policies: how many copies of an object there are, or how it is cut into fragments. A container is given
//! one when it is made; each policy has rings of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Replicas of a replicating policy, of accounts and of containers, where nothing else is said and devices are enough.
pub(crate) const REPLICAS: u8 = 3;

/// More replicas cost a write more than they save.
const REPLICAS_MAX: u8 = 15;

/// Fragments of an object altogether: what a reader and a writer hold in memory at a time grows with them.
const FRAGMENTS_MAX: u8 = 32;

/// A policy's name stands in headers, in listings and in files' names.
const NAME_LENGTH_MAX: usize = 64;

/// Policies of a cluster: each has rings that every host keeps in memory.
const POLICIES_MAX: usize = 16;

/// The ring of a policy's fragments bears the policy's number and this.
const FRAGMENTS: u32 = 1 << 31;

/// How the objects of a container are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoragePolicy {
    /// Its number; 0 is the policy of everything that was stored before there were others.
    pub index: u32,
    /// Its name, as clients say it.
    pub name: String,
    /// Copies or fragments.
    pub kind: PolicyKind,
    /// No container is made with it any more.
    #[serde(default)]
    pub is_deprecated: bool,
}

/// See [`StoragePolicy::kind`]. As text `replication 3` or `ec 4+2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyKind {
    /// So many whole copies.
    Replication {
        /// How many.
        replicas: u8,
    },
    /// An object is cut into `data` fragments, to which `parity` more are computed: any `data` of them give it back.
    Erasure {
        /// Fragments that the data are cut into.
        data: u8,
        /// Fragments that may be lost.
        parity: u8,
    },
}

impl PolicyKind {
    /// Devices that keep an object's head, and the object itself where it is small enough for the log.
    fn heads(self) -> u8 {
        match self {
            Self::Replication { replicas } => replicas,
            // As many losses as the fragments survive.
            Self::Erasure { parity, .. } => (parity + 1).max(REPLICAS),
        }
    }

    /// Fragments of an object; none where it is kept whole.
    pub fn fragments(self) -> Option<u8> {
        match self {
            Self::Replication { .. } => None,
            Self::Erasure { data, parity } => Some(data + parity),
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replication { replicas } => write!(f, "replication {replicas}"),
            Self::Erasure { data, parity } => write!(f, "ec {data}+{parity}"),
        }
    }
}

impl FromStr for PolicyKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |why: String| Error::Policy(format!("{text:?} is no kind of storage policy: {why}"));
        let usage = || refused("say, for instance, `replication 3` or `ec 4+2`".into());
        let (kind, numbers) = text.trim().split_once(' ').ok_or_else(usage)?;
        let number = |text: &str| text.trim().parse::<u8>().ok().filter(|number| *number > 0);
        match kind {
            "replication" => match number(numbers) {
                Some(replicas) if replicas <= REPLICAS_MAX => Ok(Self::Replication { replicas }),
                Some(_) => Err(refused(format!("there may be {REPLICAS_MAX} replicas"))),
                None => Err(usage()),
            },
            "ec" => match numbers.split_once('+').and_then(|(data, parity)| Some((number(data)?, number(parity)?))) {
                Some((data, parity)) if data.saturating_add(parity) <= FRAGMENTS_MAX => {
                    Ok(Self::Erasure { data, parity })
                }
                Some(_) => Err(refused(format!("there may be {FRAGMENTS_MAX} fragments"))),
                None => Err(usage()),
            },
            _ => Err(usage()),
        }
    }
}

/// What a ring places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    Accounts,
    Containers,
    /// Objects of the policy with this number, or its fragments ([`fragments_of`]).
    Objects(u32),
}

/// A ring that there must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingPlan {
    pub(crate) places: Placed,
    /// Replicas where there are devices enough.
    pub(crate) replicas: usize,
    /// Whether fewer will not do.
    pub(crate) is_exact: bool,
}

/// The number of the ring that places a policy's fragments.
pub(crate) fn fragments_of(policy: u32) -> u32 {
    policy | FRAGMENTS
}

/// Whether that number is one of a ring of fragments.
pub(crate) fn is_fragments(policy: u32) -> bool {
    policy & FRAGMENTS != 0
}

/// The policy that a ring of objects or of fragments belongs to.
pub(crate) fn policy_of(number: u32) -> u32 {
    number & !FRAGMENTS
}

/// The policies of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies {
    /// By their numbers.
    policies: Vec<StoragePolicy>,
    /// Which one a container gets that names none.
    default: u32,
}

/// A storage policy as `anello status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyStatus {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind as text: see [`PolicyKind`].
    pub kind: String,
    /// Whether containers get it that name none.
    pub is_default: bool,
    /// Whether no container gets it any more.
    pub is_deprecated: bool,
}

impl Default for Policies {
    fn default() -> Self {
        let kind = PolicyKind::Replication { replicas: REPLICAS };
        let first = StoragePolicy { index: 0, name: "Policy-0".into(), kind, is_deprecated: false };
        Self { policies: vec![first], default: 0 }
    }
}

impl Policies {
    /// Those of before, and one more.
    pub fn with(&self, name: &str, kind: PolicyKind) -> Result<Self> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(is_name) {
            let message = format!("a policy's name is made of letters, digits, - and _, {NAME_LENGTH_MAX} at most");
            return Err(Error::Policy(message));
        }
        if self.named(name).is_some() {
            return Err(Error::Policy(format!("there is a policy {name} already")));
        }
        if self.policies.len() >= POLICIES_MAX {
            return Err(Error::Policy(format!("there may be {POLICIES_MAX} policies")));
        }
        let mut policies = self.clone();
        let index = policies.policies.len() as u32;
        policies.policies.push(StoragePolicy { index, name: name.to_owned(), kind, is_deprecated: false });
        Ok(policies)
    }

    /// The same, and this one for containers that name none.
    pub fn with_default(&self, name: &str) -> Result<Self> {
        let policy = self.known(name)?;
        if policy.is_deprecated {
            return Err(Error::Policy(format!("{name} is deprecated")));
        }
        Ok(Self { default: policy.index, ..self.clone() })
    }

    /// The same, this one for no further containers.
    pub fn deprecating(&self, name: &str) -> Result<Self> {
        let index = self.known(name)?.index;
        if index == self.default {
            return Err(Error::Policy(format!("{name} is the default: make another one that first")));
        }
        let mut policies = self.clone();
        policies.policies[index as usize].is_deprecated = true;
        Ok(policies)
    }

    fn known(&self, name: &str) -> Result<&StoragePolicy> {
        self.named(name).ok_or_else(|| Error::Policy(format!("there is no policy {name}")))
    }

    /// The one of containers that name none.
    pub fn default_policy(&self) -> &StoragePolicy {
        &self.policies[self.default as usize]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &StoragePolicy> {
        self.policies.iter()
    }

    /// The one of this number.
    pub fn get(&self, index: u32) -> Option<&StoragePolicy> {
        self.policies.get(index as usize)
    }

    /// The one of this name, in whatever case.
    pub fn named(&self, name: &str) -> Option<&StoragePolicy> {
        self.policies.iter().find(|policy| policy.name.eq_ignore_ascii_case(name))
    }

    /// As `anello status` shows them.
    pub(crate) fn status(&self) -> Vec<PolicyStatus> {
        let of = |policy: &StoragePolicy| PolicyStatus {
            index: policy.index,
            name: policy.name.clone(),
            kind: policy.kind.to_string(),
            is_default: policy.index == self.default,
            is_deprecated: policy.is_deprecated,
        };
        self.policies.iter().map(of).collect()
    }

    /// Whether there is but one.
    pub(crate) fn is_one(&self) -> bool {
        self.policies.len() == 1
    }

    /// The rings of a store, in the order in which they are kept.
    pub(crate) fn rings(&self) -> Vec<RingPlan> {
        let rows = |places| RingPlan { places, replicas: usize::from(REPLICAS), is_exact: false };
        let mut rings = vec![rows(Placed::Accounts), rows(Placed::Containers)];
        for policy in &self.policies {
            let heads = usize::from(policy.kind.heads());
            rings.push(RingPlan { places: Placed::Objects(policy.index), replicas: heads, is_exact: false });
            rings.extend(policy.kind.fragments().map(|fragments| RingPlan {
                places: Placed::Objects(fragments_of(policy.index)),
                replicas: usize::from(fragments),
                is_exact: true,
            }));
        }
        rings
    }
}

impl Placed {
    /// The name of its ring's file, as Swift calls it where Swift has such a ring.
    pub(crate) fn file(self) -> String {
        match self {
            Self::Accounts => "account.ring.gz".into(),
            Self::Containers => "container.ring.gz".into(),
            Self::Objects(0) => "object.ring.gz".into(),
            Self::Objects(number) if is_fragments(number) => format!("fragments-{}.ring.gz", policy_of(number)),
            Self::Objects(number) => format!("object-{number}.ring.gz"),
        }
    }
}

impl RingPlan {
    /// Replicas over so many devices.
    pub(crate) fn replicas_over(&self, devices: usize) -> Result<f64> {
        if self.is_exact && devices < self.replicas {
            let message = format!("a storage policy needs {} devices, and there would be {devices}", self.replicas);
            return Err(Error::Policy(message));
        }
        Ok(devices.min(self.replicas) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_and_said() {
        for text in ["replication 3", "replication 1", "ec 4+2", "ec 8+4", "ec 1+1", "ec 30+2"] {
            assert_eq!(text.parse::<PolicyKind>().expect("a kind").to_string(), text);
        }
        for text in ["", "ec", "ec 4", "ec 0+2", "ec 4+0", "ec 31+2", "ec 255+255", "replication 0", "mirror 2"] {
            assert!(text.parse::<PolicyKind>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_policy_has_rings_of_its_own() {
        let policies = Policies::default().with("cheap", "ec 4+2".parse().expect("a kind")).expect("is new");
        assert!(policies.with("CHEAP", "ec 2+1".parse().expect("a kind")).is_err());
        assert_eq!(policies.named("Cheap").map(|policy| policy.index), Some(1));
        let rings: Vec<_> = policies.rings().iter().map(|ring| (ring.places.file(), ring.replicas)).collect();
        let want = [("account", 3), ("container", 3), ("object", 3), ("object-1", 3), ("fragments-1", 6)];
        assert_eq!(rings, want.map(|(name, replicas)| (format!("{name}.ring.gz"), replicas)));
        assert!(policies.rings()[4].replicas_over(5).is_err());
    }
}
