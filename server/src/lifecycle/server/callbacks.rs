//! What a server is given besides its pools' own callbacks: who is told of its life, plugins, and
//! closures as jobs.

use super::Server;
use crate::lifecycle::life::Life;
use crate::tasks::callbacks::OnTask;
use crate::tasks::closures::{Closure, ClosureOutput};

impl<T, F> Server<T, F> {
    /// Is told of each moment of the server's life, on the thread where it happens, before those
    /// that were added later. Keep it short: that thread goes on when it returns. A panic in it is
    /// reported on standard error and changes nothing else.
    ///
    /// ```no_run
    /// use sidecore::{Config, Server};
    /// use sidecore::lifecycle::Life;
    ///
    /// # fn main() -> sidecore::Result<()> {
    /// let server = Server::new(Config::load()?).on_life(|life| match life {
    ///     Life::Started { address } => println!("ready at {address}"),
    ///     Life::Draining => println!("take me out of the balancer"),
    ///     Life::Ended { report } => println!("{report}"),
    ///     _ => {}
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_life(mut self, on_life: impl Fn(&Life) + Send + Sync + 'static) -> Self {
        self.hooks.add(on_life);
        self
    }

    /// Called on each executor with its number, after its last request and its last task:
    /// [`Life::ExecutorStopped`] alone. What starts with it is made by [`serve`](Self::serve)'s
    /// `make_app`. Replaces Swoole's `on('WorkerStop')`.
    pub fn on_executor_stop(
        self,
        on_executor_stop: impl Fn(usize) + Send + Sync + 'static,
    ) -> Self {
        self.on_life(move |life| {
            if let Life::ExecutorStopped { executor } = life {
                on_executor_stop(*executor);
            }
        })
    }

    /// Has a plugin decorate the server: a function that takes it and gives it back, with callbacks
    /// and pools of its own. Replaces Mezzio's delegator factories, whose order is that of a
    /// configuration that is merged: here it is that of the calls, and what a plugin needs is its
    /// own arguments.
    ///
    /// ```no_run
    /// use sidecore::{Config, Server};
    /// use sidecore::lifecycle::Life;
    /// use sidecore::tasks::{OnFinish, OnTask, TaskPool};
    ///
    /// /// Adds a pool that sends mails.
    /// fn mailing<T, F>(mail: &TaskPool<String, ()>) -> impl FnOnce(Server<T, F>) -> Server<T, F> {
    ///     |server| server.with_pool(mail)
    /// }
    ///
    /// /// Gives a server its task callbacks.
    /// fn counting(server: Server) -> Server<OnTask<String, usize>, OnFinish<usize>> {
    ///     server.on_task(|_task, text: String| text.len()).on_finish(|_finish, _length| {})
    /// }
    ///
    /// # fn main() -> sidecore::Result<()> {
    /// # let mail = TaskPool::named("mail").on_task(|_, _: String| ()).on_finish(|_, _| {}).build();
    /// let server = Server::new(Config::load()?).with(counting).with(mailing(&mail));
    /// # Ok(())
    /// # }
    /// ```
    pub fn with<S>(self, plugin: impl FnOnce(Self) -> S) -> S {
        plugin(self)
    }

    /// Runs closures on the task workers: in the place of [`on_task`](Server::on_task).
    pub fn on_closures(self) -> Server<OnTask<Closure, ClosureOutput>, F> {
        self.try_on_task(Closure::run)
    }
}
