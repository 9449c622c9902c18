//! Taking from another cache domain: one job to run, and some of those behind it for one's own
//! domain.
//!
//! While a job is moved it is in no queue, so a worker that looks at all of them just then finds
//! none and sleeps. Whoever put the job into the first queue saw that worker awake and woke nobody.
//! So a move ends as a push does: by waking a worker ([`Park::notify`](super::park::Park::notify),
//! whose fence orders the push before its look at who sleeps).

/// Jobs that are taken from another cache domain at once.
const BATCH: usize = 8;

/// A bounded queue, shared by all threads.
pub(crate) trait Jobs {
    /// What waits in it.
    type Job;
    /// Takes the first.
    fn pop(&self) -> Option<Self::Job>;
    /// Adds one, or gives it back where there is no room.
    fn push(&self, job: Self::Job) -> Result<(), Self::Job>;
    /// Whether there is no room.
    fn is_full(&self) -> bool;
}

/// What came of it.
pub(crate) struct Taken<T> {
    /// To be run.
    pub(crate) job: T,
    /// One that was on its way when its place was taken: the worker's own next job.
    pub(crate) left_over: Option<T>,
}

/// Takes a job from `from` and moves some more to `to`, which `wake` is called for.
pub(crate) fn take<Q: Jobs>(from: &Q, to: &Q, wake: impl FnOnce()) -> Option<Taken<Q::Job>> {
    let job = from.pop()?;
    let (mut moved, mut left_over) = (false, None);
    for _ in 1..BATCH {
        let Some(more) = (if to.is_full() { None } else { from.pop() }) else { break };
        match to.push(more) {
            Ok(()) => moved = true,
            Err(refused) => {
                left_over = Some(refused);
                break;
            }
        }
    }
    if moved {
        wake();
    }
    Some(Taken { job, left_over })
}
