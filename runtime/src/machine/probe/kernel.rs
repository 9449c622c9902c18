//! The kernel's release, as far as it tells versions apart.

use std::fmt;

/// The least kernel: it brought `DEFER_TASKRUN`.
pub(super) const LEAST: Release = Release { major: 6, minor: 1 };

/// Since this kernel the rings themselves count against the limit on locked memory.
pub(super) const RINGS_ARE_LOCKED: Release = Release { major: 6, minor: 14 };

/// Since this kernel a multishot receive can be told to end after so many bytes.
pub(crate) const RECEIVES_ARE_LIMITED: Release = Release { major: 6, minor: 16 };

/// The first two numbers of `uname -r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// The 6 of 6.1.
    pub major: u32,
    /// The 1 of 6.1.
    pub minor: u32,
}

impl Release {
    /// The running kernel's, if its release begins with two numbers.
    pub fn running() -> Option<Release> {
        Release::parse(rustix::system::uname().release().to_str().ok()?)
    }

    /// Reads `6.1.0-18-amd64`, `6.18.44-fc-v595`, `5.14.0-503.el9.x86_64`, `6.1-rc3`, `7.0+`.
    fn parse(release: &str) -> Option<Release> {
        let (major, rest) = release.trim().split_once('.')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = |digits: &str| digits.parse().ok();
        Some(Release { major: number(major)?, minor: number(&rest[..digits])? })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_whatever_follows_the_numbers() {
        let check = |text: &str, expected: Option<(u32, u32)>| {
            let expected = expected.map(|(major, minor)| Release { major, minor });
            assert_eq!(Release::parse(text), expected, "{text}");
        };
        check("6.1.0-18-amd64", Some((6, 1)));
        check("6.18.44-fc-v595", Some((6, 18)));
        check("5.14.0-503.11.1.el9_5.x86_64", Some((5, 14)));
        check("5.15.167.4-microsoft-standard-WSL2", Some((5, 15)));
        check("6.1-rc3", Some((6, 1)));
        check("7.0+", Some((7, 0)));
        check("4.4.0\n", Some((4, 4)));
        check("6", None);
        check("6.", None);
        check("6.x", None);
        check("linux-6.1", None);
        check("99999999999.1", None);
        check("", None);
    }

    #[test]
    fn releases_compare_by_number() {
        let release = |text| Release::parse(text).expect("a release");
        assert!(release("6.0.19") < LEAST && release("5.19.0") < LEAST);
        assert!(release("6.1.0") >= LEAST && release("6.10.0") >= LEAST);
        assert!(release("7.0.0") >= RINGS_ARE_LOCKED && release("6.9.0") < RINGS_ARE_LOCKED);
    }

    #[test]
    fn the_running_kernel_has_a_release() {
        assert!(Release::running().is_some());
    }
}
