//! The kinds of a pool's jobs, by which its statistics are kept apart.

use std::sync::Arc;

use crate::sys::panics::catch;

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
    of: Arc<dyn Fn(&J) -> usize + Send + Sync>,
}

impl<J> Kinds<J> {
    /// `of` returns a job's place among `names`; a place behind the last counts as the last. Each
    /// kind costs 8 KiB of statistics for each task worker. A job on which `of` panics counts as of
    /// the last kind, too.
    pub fn new(
        names: &'static [&'static str],
        of: impl Fn(&J) -> usize + Send + Sync + 'static,
    ) -> Self {
        match names {
            [] => Kinds::one(),
            names => Kinds { names, of: Arc::new(of) },
        }
    }

    /// All jobs are of one kind, `job`.
    pub fn one() -> Self {
        Kinds { names: &["job"], of: Arc::new(|_| 0) }
    }

    /// The same kinds, of what holds such a job.
    pub fn held_by<H>(self, job: impl Fn(&H) -> &J + Send + Sync + 'static) -> Kinds<H>
    where
        J: 'static,
    {
        let of = self.of;
        Kinds { names: self.names, of: Arc::new(move |holder| of(job(holder))) }
    }

    pub(crate) fn names(&self) -> &'static [&'static str] {
        self.names
    }

    pub(crate) fn of(&self, job: &J) -> usize {
        let last = self.names.len() - 1;
        // It is the user's, and called where a panic would take the task worker with it.
        catch(|| (self.of)(job)).map_or(last, |kind| kind.min(last))
    }
}

impl<J> Clone for Kinds<J> {
    fn clone(&self) -> Self {
        Kinds { names: self.names, of: self.of.clone() }
    }
}

impl<J> Default for Kinds<J> {
    fn default() -> Self {
        Kinds::one()
    }
}
