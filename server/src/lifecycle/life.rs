//! The moments of a server's life, and who is told of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use sidecore_runtime::sys::panics::{Quiet, catch};
use sidecore_runtime::sys::stderr;

use crate::lifecycle::report::Report;

/// A moment in a server's life: what [`Server::on_life`](crate::Server::on_life) is told of.
///
/// | Swoole | here |
/// |---|---|
/// | `onStart`, `onManagerStart` | [`Started`](Life::Started) |
/// | `onWorkerStart` | [`ExecutorStarted`](Life::ExecutorStarted); what the worker keeps is made by [`serve`](crate::Server::serve)'s `make_app`, of task workers by [`Server::on_task_worker`](crate::Server::on_task_worker) |
/// | `onBeforeReload`, `onAfterReload` | [`Reloading`](Life::Reloading), [`Reloaded`](Life::Reloaded) |
/// | `onBeforeShutdown`, `onWorkerExit` | [`Draining`](Life::Draining) |
/// | `onWorkerStop` | [`ExecutorStopped`](Life::ExecutorStopped); of task workers the drop of what `on_task_worker` returned |
/// | `onShutdown`, `onManagerStop` | [`Ended`](Life::Ended), which counts what became of the tasks |
/// | `onWorkerError` | the error of [`Running::wait`](crate::Running::wait); of task workers [`Notice::WorkerFailed`](crate::tasks::Notice::WorkerFailed) |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Life {
    /// An executor has made its application and is about to accept. On its thread.
    ExecutorStarted {
        /// Its number, from 0.
        executor: usize,
        /// The CPU it is pinned to.
        cpu: usize,
    },
    /// Every executor accepts. On the thread that started the server.
    Started {
        /// Where it listens: see [`Running::address`](crate::Running::address).
        address: SocketAddr,
    },
    /// The task workers are about to be made anew. On the thread that asked for it.
    Reloading,
    /// Each task worker was made anew, after the job that it had. On a thread of its own; reloads
    /// that overlap tell it once. It is not told where a worker could not be made anew (which is a
    /// [`Notice`](crate::tasks::Notice)) or the server ends before.
    Reloaded,
    /// The shutdown has begun: no connection is accepted any more. On the executor that sees it
    /// first; the drain of all waits meanwhile.
    Draining,
    /// An executor has served its last request and delivered its last task. On its thread.
    ExecutorStopped {
        /// Its number.
        executor: usize,
    },
    /// All is over. On the thread that waits for the end; not told of a server that did not start.
    Ended {
        /// What became of the tasks.
        report: Report,
    },
}

type Hook = Arc<dyn Fn(&Life) + Send + Sync>;

/// Who is told of a server's life.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    hooks: Vec<Hook>,
    told: Arc<ToldOnce>,
}

struct ToldOnce {
    started: AtomicBool,
    draining: Once,
}

impl Default for ToldOnce {
    fn default() -> Self {
        ToldOnce { started: AtomicBool::new(false), draining: Once::new() }
    }
}

impl Hooks {
    /// Adds one, behind the others.
    pub(crate) fn add(&mut self, on_life: impl Fn(&Life) + Send + Sync + 'static) {
        let on_life = Quiet::new(on_life);
        self.hooks.push(Arc::new(move |life: &Life| on_life(life)));
    }

    /// Whether anybody is told.
    pub(crate) fn are_some(&self) -> bool {
        !self.hooks.is_empty()
    }

    pub(crate) fn tell(&self, life: Life) {
        let tell = || self.hooks.iter().for_each(|hook| call(hook, &life));
        match life {
            // Other executors wait here: none has stopped before the drain was told.
            Life::Draining => self.told.draining.call_once(tell),
            Life::Ended { .. } if !self.told.started.load(Ordering::Relaxed) => {}
            Life::Started { .. } => {
                self.told.started.store(true, Ordering::Relaxed);
                tell();
            }
            _ => tell(),
        }
    }
}

fn call(hook: &Hook, life: &Life) {
    if catch(|| hook(life)).is_none() {
        stderr::line(format_args!("a hook panicked when it was told {life:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A server's hooks, whose middle one panics, and what the last one was told.
    fn hooks() -> (Hooks, Arc<Mutex<Vec<Life>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        let mut hooks = Hooks::default();
        hooks.add(|_| ());
        hooks.add(|_| panic!("a hook"));
        hooks.add(move |life| tell.lock().unwrap().push(*life));
        (hooks, told)
    }

    #[test]
    fn a_hook_that_panics_keeps_nothing_from_the_others() {
        let (hooks, told) = hooks();
        hooks.tell(Life::Reloading);
        hooks.tell(Life::Reloading);
        assert_eq!(*told.lock().unwrap(), [Life::Reloading, Life::Reloading]);
    }

    #[test]
    fn the_drain_is_told_once_and_an_end_only_after_a_start() {
        let (hooks, told) = hooks();
        let (address, report) = (([127, 0, 0, 1], 80).into(), Report::default());
        hooks.tell(Life::Draining);
        hooks.tell(Life::Ended { report });
        hooks.clone().tell(Life::Draining);
        hooks.tell(Life::Started { address });
        hooks.tell(Life::Ended { report });
        let expected = [Life::Draining, Life::Started { address }, Life::Ended { report }];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
