//! The kinds of a pool's jobs, by which its statistics are kept apart.

/// Names the kinds of a pool's jobs and tells which one a job is of.
///
/// ```
/// use sidecore_runtime::pool::Kinds;
/// enum Job { Mail(String), Report }
/// let kinds = Kinds::new(&["mail", "report"], |job| match job {
///     Job::Mail(_) => 0,
///     Job::Report => 1,
/// });
/// # let _: Kinds<Job> = kinds;
/// ```
pub struct Kinds<J> {
    names: &'static [&'static str],
    of: fn(&J) -> usize,
}

impl<J> Kinds<J> {
    /// `of` returns a job's place among `names`; a place behind the last counts as the last. Each
    /// kind costs 8 KiB of statistics for each task worker.
    pub fn new(names: &'static [&'static str], of: fn(&J) -> usize) -> Self {
        match names {
            [] => Kinds::one(),
            names => Kinds { names, of },
        }
    }

    /// All jobs are of one kind, `job`.
    pub fn one() -> Self {
        Kinds { names: &["job"], of: |_| 0 }
    }

    pub(super) fn names(&self) -> &'static [&'static str] {
        self.names
    }

    pub(super) fn of(&self, job: &J) -> usize {
        (self.of)(job).min(self.names.len() - 1)
    }
}

impl<J> Clone for Kinds<J> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<J> Copy for Kinds<J> {}

impl<J> Default for Kinds<J> {
    fn default() -> Self {
        Kinds::one()
    }
}
