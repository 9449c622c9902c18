//! Entity tag and modification date of a file (RFC 9110 §8.8), from its metadata.
//!
//! Both are weak while a file is fresh: within one tick of the clock that stamps it, it may be
//! changed again and keep its times. So in the second of its modification, and the next, its tag
//! is sent as a weak one and its date not at all. What is sent later can be relied on, and the
//! date is a strong validator as well (§8.8.2.2).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

use crate::rules::{EntityTags, Policy};
use crate::tree::{Identity, REST_S};

/// What tells a client's copy from the file.
pub(crate) struct Validators {
    pub(crate) entity_tag: Option<EntityTag>,
    /// When it was modified; None where that is not to be told, or not yet.
    pub(crate) modified: Option<SystemTime>,
}

/// An entity tag: its opaque part, quoted, and whether it is weak.
pub(crate) struct EntityTag {
    opaque: String,
    weak: bool,
}

impl Validators {
    pub(crate) fn of(identity: &Identity, policy: &Policy<'_>, now: SystemTime) -> Self {
        let modified = u64::try_from(identity.modified.0).ok();
        let modified = modified.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        let rested =
            |at: SystemTime| now.duration_since(at).is_ok_and(|rest| rest.as_secs() >= REST_S);
        let is_rested = modified.is_some_and(rested);
        Validators {
            entity_tag: EntityTag::of(identity, policy.entity_tags, !is_rested),
            modified: modified.filter(|_| is_rested && policy.last_modified),
        }
    }
}

impl EntityTag {
    fn of(identity: &Identity, kind: EntityTags, is_fresh: bool) -> Option<Self> {
        let mut hasher = DefaultHasher::new();
        match kind {
            EntityTags::Strong => identity.hash(&mut hasher),
            EntityTags::Weak => (identity.size, identity.modified).hash(&mut hasher),
            EntityTags::Off => return None,
        }
        // A hash, lest inode numbers be told to everybody.
        let opaque = format!("\"{:x}-{:016x}\"", identity.size, hasher.finish());
        Some(EntityTag { opaque, weak: is_fresh || kind == EntityTags::Weak })
    }

    pub(crate) fn value(&self) -> Option<HeaderValue> {
        let EntityTag { opaque, weak } = self;
        let prefix = if *weak { "W/" } else { "" };
        HeaderValue::try_from(format!("{prefix}{opaque}")).ok()
    }

    /// §8.8.3.2, the strong comparison: neither is weak.
    pub(crate) fn is_strongly(&self, sent: &[u8]) -> bool {
        !self.weak && sent == self.opaque.as_bytes()
    }

    /// §8.8.3.2, the weak comparison.
    pub(crate) fn is_weakly(&self, sent: &[u8]) -> bool {
        sent.strip_prefix(b"W/").unwrap_or(sent) == self.opaque.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(inode: u64, modified_s: i64) -> Identity {
        let (modified, changed) = ((modified_s, 5), (modified_s, 5));
        Identity { device: 1, inode, size: 10, modified, changed }
    }

    fn tag(inode: u64, kind: EntityTags, is_fresh: bool) -> String {
        let tag = EntityTag::of(&identity(inode, 1000), kind, is_fresh).expect("a tag");
        tag.value().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_strong_tag_differs_by_inode_and_a_weak_one_does_not() {
        assert_ne!(tag(1, EntityTags::Strong, false), tag(2, EntityTags::Strong, false));
        assert_eq!(tag(1, EntityTags::Weak, false), tag(2, EntityTags::Weak, false));
        assert!(tag(1, EntityTags::Strong, false).starts_with("\"a-"));
        assert!(tag(1, EntityTags::Weak, false).starts_with("W/\"a-"));
    }

    #[test]
    fn a_fresh_file_has_a_weak_tag_and_no_date() {
        let policy =
            Policy { cache_control: None, entity_tags: EntityTags::Strong, last_modified: true };
        let at = |seconds| {
            let now = UNIX_EPOCH + Duration::from_secs(seconds);
            let validators = Validators::of(&identity(1, 1000), &policy, now);
            (validators.entity_tag.unwrap().weak, validators.modified.is_some())
        };
        assert_eq!(at(999), (true, false));
        assert_eq!(at(1001), (true, false));
        assert_eq!(at(1002), (false, true));
    }
}
