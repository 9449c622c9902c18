//! Linux CPU lists: `0-3,8`, and with a stride `0-6:2` (taskset(1)).
//!
//! The form in which the kernel writes sets of CPUs below `/sys` and `/proc`, and in which
//! settings such as `worker_cpus` name them. A list is a set: sorted, each CPU once.

use std::fmt;
use std::str::FromStr;

/// CPU numbers are below this: the most CPUs a Linux kernel is built for (`NR_CPUS` of x86-64).
pub const CPU_NUMBERS: usize = 8192;

/// The kernel's number of a logical CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub usize);

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of CPUs, in order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuList {
    sorted: Vec<CpuId>,
}

impl CpuList {
    /// The CPUs in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        self.sorted.iter().copied()
    }

    /// Whether the CPU is in the list.
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.sorted.binary_search(&cpu).is_ok()
    }

    /// How many CPUs are listed.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether no CPU is listed. A parsed list never is.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The lowest CPU of the list.
    pub fn first(&self) -> Option<CpuId> {
        self.sorted.first().copied()
    }
}

impl FromIterator<CpuId> for CpuList {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> Self {
        let mut sorted: Vec<CpuId> = cpus.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        CpuList { sorted }
    }
}

impl FromStr for CpuList {
    type Err = CpuListError;

    fn from_str(text: &str) -> Result<Self, CpuListError> {
        if text.trim().is_empty() {
            return Err(CpuListError::Empty);
        }
        // Each item yields at most CPU_NUMBERS numbers and overlaps collapse in this table, so
        // the result is bounded however long the text is.
        let mut listed = vec![false; CPU_NUMBERS];
        for item in text.split(',') {
            let (first, last, stride) = parse_item(item.trim())?;
            for cpu in (first..=last).step_by(stride) {
                listed[cpu] = true;
            }
        }
        Ok((0..CPU_NUMBERS).filter(|&cpu| listed[cpu]).map(CpuId).collect())
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.sorted.as_slice();
        let mut separator = "";
        while let Some(&CpuId(first)) = rest.first() {
            let run = rest.iter().zip(first..).take_while(|(cpu, expected)| cpu.0 == *expected);
            let run = run.count();
            match run {
                1 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{}", first + run - 1)?,
            }
            separator = ",";
            rest = &rest[run..];
        }
        Ok(())
    }
}

/// What is wrong with a CPU list.
#[derive(Clone, PartialEq, Eq)]
pub enum CpuListError {
    /// The list names no CPU.
    Empty,
    /// Nothing stands between two commas, or before the first or after the last.
    EmptyItem,
    /// This item is neither a number nor a range.
    NotANumber(String),
    /// This range ends before it begins.
    Reversed(String),
    /// This range has a stride of zero.
    ZeroStride(String),
    /// This item has a number that is no CPU's on any Linux machine.
    TooLarge(String),
}

impl fmt::Display for CpuListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CpuListError::Empty => f.write_str("the CPU list is empty; name CPUs as in 0-3,8"),
            CpuListError::EmptyItem => {
                f.write_str("the CPU list has a comma with nothing beside it; write it as 0-3,8")
            }
            CpuListError::NotANumber(item) => {
                write!(f, "'{item}' is neither a CPU number nor a range; write 8, 0-3 or 0-6:2")
            }
            CpuListError::Reversed(item) => {
                write!(f, "the range '{item}' ends before it begins; put the lower CPU first")
            }
            CpuListError::ZeroStride(item) => {
                write!(f, "the range '{item}' has a stride of 0; use 1 or more")
            }
            CpuListError::TooLarge(item) => {
                write!(f, "'{item}' goes beyond CPU {}, the last Linux can number", CPU_NUMBERS - 1)
            }
        }
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for CpuListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for CpuListError {}

/// `8`, `0-3` or `0-6:2` as (first, last, stride).
fn parse_item(item: &str) -> Result<(usize, usize, usize), CpuListError> {
    if item.is_empty() {
        return Err(CpuListError::EmptyItem);
    }
    let (range, stride) = match item.split_once(':') {
        Some((range, stride)) => (range, Some(stride)),
        None => (item, None),
    };
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first, item)?, number(last, item)?),
        // A stride without a range strides over nothing.
        None if stride.is_some() => return Err(CpuListError::NotANumber(item.into())),
        None => (number(range, item)?, number(range, item)?),
    };
    let stride = stride.map_or(Ok(1), |stride| number(stride, item))?;
    if last < first {
        Err(CpuListError::Reversed(item.into()))
    } else if stride == 0 {
        Err(CpuListError::ZeroStride(item.into()))
    } else {
        Ok((first, last, stride))
    }
}

fn number(digits: &str, item: &str) -> Result<usize, CpuListError> {
    // `usize::from_str` would take a sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CpuListError::NotANumber(item.into()));
    }
    match digits.parse() {
        Ok(number) if number < CPU_NUMBERS => Ok(number),
        _ => Err(CpuListError::TooLarge(item.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_the_set_it_names() {
        let check = |text: &str, expected: &[usize]| {
            let list: CpuList = text.parse().expect(text);
            assert_eq!(list.iter().map(|cpu| cpu.0).collect::<Vec<_>>(), expected, "{text}");
        };
        check("0", &[0]);
        check("0-3,8", &[0, 1, 2, 3, 8]);
        check("8,0-3\n", &[0, 1, 2, 3, 8]);
        check(" 1 , 3 ", &[1, 3]);
        check("0-3,2-4,3", &[0, 1, 2, 3, 4]);
        check("0-6:2", &[0, 2, 4, 6]);
        check("1-6:2,8", &[1, 3, 5, 8]);
        check("0-3:100", &[0]);
        check("8191", &[8191]);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let check = |text: &str, expected: CpuListError| {
            assert_eq!(text.parse::<CpuList>(), Err(expected), "{text}");
        };
        let not_a_number = |item: &str| CpuListError::NotANumber(item.into());
        check("", CpuListError::Empty);
        check(" \n", CpuListError::Empty);
        check("1,,2", CpuListError::EmptyItem);
        check("1,", CpuListError::EmptyItem);
        check("a", not_a_number("a"));
        check("-1", not_a_number("-1"));
        check("+1", not_a_number("+1"));
        check("1-", not_a_number("1-"));
        check("0 - 3", not_a_number("0 - 3"));
        check("4:2", not_a_number("4:2"));
        check("0-6:2/4", not_a_number("0-6:2/4"));
        check("0-6:", not_a_number("0-6:"));
        check("3-0", CpuListError::Reversed("3-0".into()));
        check("0-6:0", CpuListError::ZeroStride("0-6:0".into()));
        check("8192", CpuListError::TooLarge("8192".into()));
        check(
            "0-99999999999999999999999",
            CpuListError::TooLarge("0-99999999999999999999999".into()),
        );
    }

    #[test]
    fn what_is_shown_parses_to_the_same_list() {
        let check = |text: &str, expected: &str| {
            let list: CpuList = text.parse().expect(text);
            assert_eq!(list.to_string(), expected);
            assert_eq!(expected.parse(), Ok(list));
        };
        check("0,1,2,3,8", "0-3,8");
        check("5", "5");
        check("0-6:2", "0,2,4,6");
        check("7-8,1", "1,7-8");
        assert_eq!(CpuList::default().to_string(), "");
    }
}
