//! What is said of files by the pattern of their paths.

use http::HeaderValue;

/// How a file's entity tag is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntityTags {
    /// Of its size, its times and its inode, which no change leaves alike. Other machines have
    /// other tags for copies of a file: each is right, but a client that meets them in turn
    /// cannot use its copy.
    #[default]
    Strong,
    /// Of its size and the time of its modification: the same on machines whose deployment keeps
    /// that time. No range is resumed by such a tag.
    Weak,
    /// None.
    Off,
}

/// What is said of the files of one pattern; what it leaves open is the next rule's that fits.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub(crate) cache_control: Option<String>,
    pub(crate) entity_tags: Option<EntityTags>,
    pub(crate) last_modified: Option<bool>,
}

impl Rule {
    /// A rule that says nothing yet.
    pub fn new() -> Self {
        Rule::default()
    }

    /// The value of Cache-Control.
    pub fn cache_control(self, value: impl Into<String>) -> Self {
        Rule { cache_control: Some(value.into()), ..self }
    }

    /// How entity tags are made.
    pub fn entity_tags(self, entity_tags: EntityTags) -> Self {
        Rule { entity_tags: Some(entity_tags), ..self }
    }

    /// Whether Last-Modified is sent, and asked about by If-Modified-Since.
    pub fn last_modified(self, sent: bool) -> Self {
        Rule { last_modified: Some(sent), ..self }
    }
}

/// A pattern, and what is said of its files.
pub(crate) struct CompiledRule {
    pub(crate) pattern: String,
    pub(crate) cache_control: Option<HeaderValue>,
    pub(crate) entity_tags: Option<EntityTags>,
    pub(crate) last_modified: Option<bool>,
}

/// What holds for one file.
pub(crate) struct Policy<'a> {
    pub(crate) cache_control: Option<&'a HeaderValue>,
    pub(crate) entity_tags: EntityTags,
    pub(crate) last_modified: bool,
}

impl<'a> Policy<'a> {
    /// Of a file by its path, which begins with a slash.
    pub(crate) fn of(path: &[u8], rules: &'a [CompiledRule]) -> Self {
        let mut policy: (Option<&HeaderValue>, _, _) = (None, None, None);
        for rule in rules.iter().filter(|rule| matches(rule.pattern.as_bytes(), path)) {
            policy.0 = policy.0.or(rule.cache_control.as_ref());
            policy.1 = policy.1.or(rule.entity_tags);
            policy.2 = policy.2.or(rule.last_modified);
        }
        Policy {
            cache_control: policy.0,
            entity_tags: policy.1.unwrap_or_default(),
            last_modified: policy.2.unwrap_or(true),
        }
    }
}

/// Whether a pattern matches all of `path`: `*` stands for any bytes, slashes and none included,
/// each other byte for itself.
///
/// Only the last `*` is gone back to, so the time is at most that of both lengths multiplied.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let (mut at, mut to) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while to < path.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, to));
                at += 1;
            }
            Some(byte) if *byte == path[to] => (at, to) = (at + 1, to + 1),
            _ => {
                let Some((star_at, star_to)) = star else { return false };
                star = Some((star_at, star_to + 1));
                (at, to) = (star_at + 1, star_to + 1);
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_the_rest_for_itself() {
        let check = |pattern: &str, path: &str, expected: bool| {
            assert_eq!(matches(pattern.as_bytes(), path.as_bytes()), expected, "{pattern} {path}");
        };
        check("*", "/a", true);
        check("", "", true);
        check("/img/*", "/img/a/b.png", true);
        check("/img/*", "/img/", true);
        check("/img/*", "/imgs/a", false);
        check("*.css", "/a/b.css", true);
        check("*.css", "/a/b.css.map", false);
        check("/a*b*c", "/axxbxxbc", true);
        check("/a*b*c", "/axxbxxb", false);
        check("/a.css", "/a.css", true);
        check("/a?css", "/a.css", false);
        check("**x", "/x", true);
        check(&"*a".repeat(50), &"a".repeat(2000), true);
        check(&("*a".repeat(50) + "b"), &"a".repeat(2000), false);
    }

    #[test]
    fn the_first_rule_that_says_something_counts() {
        let rule = |pattern: &str, cache_control, entity_tags| CompiledRule {
            pattern: pattern.into(),
            cache_control: Some(HeaderValue::from_static(cache_control)),
            entity_tags,
            last_modified: None,
        };
        let rules = [
            rule("*.css", "no-cache", None),
            rule("/a*", "public", Some(EntityTags::Weak)),
            rule("*", "private", Some(EntityTags::Off)),
        ];
        let policy = Policy::of(b"/a.css", &rules);
        assert_eq!(policy.cache_control.unwrap(), "no-cache");
        assert_eq!(policy.entity_tags, EntityTags::Weak);
        assert!(policy.last_modified);
        assert_eq!(Policy::of(b"/b", &rules).cache_control.unwrap(), "private");
        assert_eq!(Policy::of(b"/b", &[]).entity_tags, EntityTags::Strong);
    }
}
